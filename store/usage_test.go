package store_test

import (
	"os"
	"testing"
)

func TestUsageAddsUp(t *testing.T) {
	path := lived(t)
	s := open(t, path)
	defer closeStore(t, s)
	usage, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for class, n := range usage {
		if class != "log" {
			sum += n
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if sum != info.Size() || usage["spans"] < 5000*20 || usage["plan"] == 0 || usage["incidents"] == 0 {
		t.Errorf("of %d bytes it finds %v", info.Size(), usage)
	}
}
