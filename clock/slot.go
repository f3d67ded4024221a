package clock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"sereno"
)

// A slot holds one mark: the bytes of a record, little endian, then the
// CRC-32C (RFC 3720, appendix B.4) of all before it.
const (
	slotMagic  = "sereno alive 1\n\x00"
	recordSize = 144
	slotSize   = 4096 // a block of its own, so that a torn write harms one slot alone
	bootIDMost = 64
)

type record struct {
	Magic   [len(slotMagic)]byte
	Number  uint64 // one more with each mark; it chooses the slot
	Wall    sereno.Instant
	Boot    time.Duration
	Mono    time.Duration
	Ledger  sereno.Instant
	Settled sereno.Instant
	Every   time.Duration
	PID     uint32
	Flags   uint16
	Length  uint16 // of BootID
	BootID  [bootIDMost]byte
}

const (
	flagSynced = 1 << iota
	flagChip
	flagClean
	flagRestored
	flagsEnd
)

var (
	errForeign = errors.New("no mark of this version")
	errDamaged = errors.New("damaged mark")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeSlot(number uint64, m sereno.Mark) []byte {
	r := record{
		Number: number, Wall: m.Wall, Boot: m.Boot, Mono: m.Mono,
		Ledger: m.Ledger, Settled: m.Settled, Every: m.Every, PID: uint32(m.PID),
	}
	copy(r.Magic[:], slotMagic)
	r.Length = uint16(copy(r.BootID[:], m.BootID))
	if m.Synced {
		r.Flags |= flagSynced
	}
	if m.Chip {
		r.Flags |= flagChip
	}
	if m.Clean {
		r.Flags |= flagClean
	}
	if m.Restored {
		r.Flags |= flagRestored
	}
	b, err := binary.Append(make([]byte, 0, recordSize+4), binary.LittleEndian, r)
	if err != nil {
		panic(err) // the record has a part without a fixed size: a mistake in this file
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeSlot returns errForeign if b was never a slot, errDamaged if it was one.
// Nothing but zeros is damage: a file system that lost a write shows them.
func decodeSlot(b []byte) (number uint64, m sereno.Mark, err error) {
	if len(bytes.Trim(b, "\x00")) == 0 {
		return 0, m, errDamaged
	}
	if !bytes.HasPrefix(b, []byte(slotMagic)) {
		return 0, m, errForeign
	}
	if len(b) < recordSize+4 || crc32.Checksum(b[:recordSize], castagnoli) != binary.LittleEndian.Uint32(b[recordSize:]) {
		return 0, m, errDamaged
	}
	var r record
	if _, err := binary.Decode(b[:recordSize], binary.LittleEndian, &r); err != nil {
		return 0, m, errDamaged
	}
	if r.Length > bootIDMost || r.Flags >= flagsEnd || r.Every < 0 {
		return 0, m, errDamaged
	}
	return r.Number, sereno.Mark{
		Reading: sereno.Reading{
			Wall: r.Wall, Boot: r.Boot, Mono: r.Mono, BootID: string(r.BootID[:r.Length]),
			Synced: r.Flags&flagSynced != 0, Chip: r.Flags&flagChip != 0,
		},
		Ledger: r.Ledger, Settled: r.Settled, Clean: r.Flags&flagClean != 0, Every: r.Every, PID: int(r.PID),
		Restored: r.Flags&flagRestored != 0,
	}, nil
}
