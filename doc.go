// Package sereno is the vocabulary and the rules of Sereno, a night watchman
// for networks: what a device, a look, a status, a span and an incident are,
// and how looks become minutes of up, down and not known.
//
// Everything here is plain data and pure functions. Nothing does I/O, nothing
// reads a clock: time comes in with the values, so any history can be replayed
// and gives what was recorded live.
package sereno
