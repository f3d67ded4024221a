package store

import (
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// put runs a text in which @ stands for the rows of list as a table u with some
// columns, and returns how many rows it touched. PostgreSQL gets all rows at
// once, SQLite one after the other: on PostgreSQL the text must not touch a row
// twice.
func put[T any](s *Store, tx *sql.Tx, text, columns string, list []T, args func(T) []any) (touched int64, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	text = s.rowsIn(text, columns, args(list[0]))
	if s.postgres != nil {
		return together(tx, text, list, args)
	}
	stmt, err := tx.Prepare(text)
	if err != nil {
		return 0, err
	}
	defer stmt.Close()
	for _, row := range list {
		done, err := stmt.Exec(args(row)...)
		if err != nil {
			return touched, err
		}
		n, err := done.RowsAffected()
		if touched += n; err != nil {
			return touched, err
		}
	}
	return touched, nil
}

// rowsIn puts the table u in the place of @ in a text. first is the first row.
func (s *Store) rowsIn(text, columns string, first []any) string {
	table := "(SELECT"
	if s.postgres != nil {
		table = unnest(kindsOf(arrays([][]any{first}))) + " AS u (" + columns + ")"
	} else {
		for i, name := range strings.Split(columns, ",") {
			if i > 0 {
				table += ","
			}
			table += fmt.Sprintf(" $%d AS %s", i+1, strings.TrimSpace(name))
		}
		table += ") AS u"
	}
	return strings.Replace(text, "@", table, 1)
}

// arrays turns rows into an array for each column.
func arrays(rows [][]any) []any { return columns(rows, func(row []any) []any { return row }) }

// among is the condition that a column is one of the numbers in the first
// argument, which is their list.
func (s *Store) among() string {
	if s.postgres != nil {
		return " = ANY($1::bigint[])"
	}
	return " IN (SELECT value FROM json_each($1))"
}

// list is a list of numbers as an argument.
func (s *Store) list(numbers []int64) any {
	if s.postgres != nil {
		return numbers
	}
	b := append(make([]byte, 0, 2+12*len(numbers)), '[')
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(append(b, ']'))
}

// distinct sorts numbers and leaves out what is there twice.
func distinct(numbers []int64) []int64 {
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// take reserves n numbers of a sequence and returns the first.
func take(tx *sql.Tx, sequence string, n int) (first int64, err error) {
	err = tx.QueryRow(`UPDATE sequences SET last = last + $1 WHERE name = $2 RETURNING last`, int64(n), sequence).Scan(&first)
	return first - int64(n) + 1, err
}
