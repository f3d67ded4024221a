package spool

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// keepers are the file systems on which allocated room stays ours.
var keepers = []int64{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.TMPFS_MAGIC} // ext2 and ext3 have the number of ext4

// allocate takes up size bytes without writing them. It fails where that is
// worth nothing; see fallocate(2).
func allocate(f *os.File, size int64) error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return err
	}
	if slices.Contains(keepers, int64(s.Type)) {
		return unix.Fallocate(int(f.Fd()), 0, 0, size)
	}
	return unix.EOPNOTSUPP
}
