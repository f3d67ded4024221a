package store

import "time"

// Patience makes the store less patient with PostgreSQL until undo is called.
func Patience(write, lock time.Duration) (undo func()) {
	oldWrite, oldLock := writePatience, lockPatience
	writePatience, lockPatience = write, lock
	return func() { writePatience, lockPatience = oldWrite, oldLock }
}

// JudgeServer is what is said of a PostgreSQL server with these properties.
func JudgeServer(version int, readOnly bool, encoding string) error {
	return (&postgres{where: "db:5432/sereno"}).judge(version, readOnly, encoding)
}
