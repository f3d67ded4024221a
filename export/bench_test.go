package export_test

import (
	"fmt"
	"io"
	"testing"

	"sereno"
	"sereno/export"
	"sereno/sheet"
)

// BenchmarkResponses exports an hour of 100 devices at 1 s from real samples.
func BenchmarkResponses(b *testing.B) {
	const devices, looks = 100, 3600
	w := newWorld(b)
	list := make([]sereno.Device, devices)
	for i := range list {
		list[i] = sereno.Device{
			Name: fmt.Sprintf("device-%03d", i), Address: fmt.Sprintf("10.0.0.%d", i),
			Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}},
		}
	}
	list = w.add(0, list...)
	batch := make([]sereno.Result, 0, devices*looks)
	for s := range looks {
		for i, d := range list {
			batch = append(batch, answered(d, 0, float64(s)+float64(i)/1000, 1+float64(i*s%977)/100))
		}
	}
	w.keep(batch...)
	for _, c := range []struct {
		name string
		r    export.Request
	}{
		{"looks.csv", export.Request{Subject: export.Looks}},
		{"looks.ndjson", export.Request{Subject: export.Looks, Format: sheet.NDJSON}},
		{"responses.csv", export.Request{Subject: export.Responses}},
		{"wide.csv", export.Request{Subject: export.Responses, Wide: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.r.From, c.r.To, c.r.Now = noon, at(looks+1), at(looks+1)
			b.ReportAllocs()
			for b.Loop() {
				job, err := export.Prepare(b.Context(), w.Store, w.samples, c.r)
				if err != nil {
					b.Fatal(err)
				}
				rows, err := job.Write(b.Context(), io.Discard)
				if err != nil || !c.r.Wide && rows != devices*looks {
					b.Fatal(rows, err)
				}
			}
			b.ReportMetric(devices*looks*float64(b.N)/b.Elapsed().Seconds(), "looks/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
