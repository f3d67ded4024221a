package lab

import (
	"testing"
	"time"
)

func TestLater(t *testing.T) {
	var l later
	for i, due := range []time.Duration{30, 10, 20, 10, 0} {
		p := l.parcel()
		p.packet = append(p.packet, byte(i))
		l.put(p, due)
	}
	var order []byte
	collect := func(now time.Duration) {
		for p := l.take(now); p != nil; p = l.take(now) {
			order = append(order, p.packet...)
			l.recycle(p)
		}
	}
	collect(10)
	if string(order) != "\x04\x01\x03" {
		t.Errorf("due at 10: %v", order)
	}
	if due, ok := l.next(); due != 20 || !ok {
		t.Errorf("next is due at %d, %v", due, ok)
	}
	if p := l.parcel(); len(p.packet) != 0 {
		t.Errorf("a used parcel is not empty: %v", p.packet)
	}
	collect(100)
	if string(order) != "\x04\x01\x03\x02\x00" {
		t.Errorf("all in all: %v", order)
	}
	if _, ok := l.next(); ok {
		t.Error("something is left")
	}
}
