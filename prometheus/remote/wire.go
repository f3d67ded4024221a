package remote

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// Names of the series that are sent: those under which samples keep looks.
const (
	rttName = "sereno_rtt_seconds"
	upName  = "sereno_up"
)

// stale is the value that ends a series for the time being (Prometheus's
// staleness marker).
var stale = math.Float64frombits(0x7ff0000000000002)

// A writer makes requests of looks. It remembers the labels of each subject as
// they go over the wire, and which of its series are to be ended.
type writer struct {
	extra map[string]string
	lines map[subject]*line
	body  []byte

	segment  uint64  // of numbered
	numbered []*line // by the number of their subjects
}

// A line is the two series of a subject.
type line struct {
	identity
	up, rtt         []byte // the labels of a TimeSeries
	upLive, rttLive bool   // the newest sample is one that says something, or that is not known
}

// request returns looks as a prometheus.WriteRequest (remote write 1.0), and
// the number of its samples. It is valid until the next.
func (w *writer) request(b batch) (body []byte, samples int) {
	if w.segment != b.end.segment {
		w.segment, w.numbered = b.end.segment, w.numbered[:0]
	}
	for n := len(w.numbered); n < len(b.known.list); n++ {
		w.numbered = append(w.numbered, w.line(b.known.list[n]))
	}
	w.body = w.body[:0]
	for i := range b.looks {
		l, line := &b.looks[i], w.numbered[b.numbers[i]]
		add := func(labels []byte, v float64) {
			w.body = appendSeries(w.body, labels, l.at, v)
			samples++
		}
		if l.value < answered && line.rttLive {
			add(line.rtt, stale)
			line.rttLive = false
		}
		switch l.value {
		case fault:
			if line.upLive {
				add(line.up, stale)
				line.upLive = false
			}
		case lost:
			add(line.up, 0)
			line.upLive = true
		default:
			add(line.rtt, l.rtt())
			add(line.up, 1)
			line.rttLive, line.upLive = true, true
		}
	}
	return w.body, samples
}

func (w *writer) line(n named) *line {
	if l := w.lines[n.subject]; l != nil && l.identity == n.identity {
		return l
	}
	vantage := "local"
	if n.vantage != 0 {
		vantage = strconv.FormatInt(int64(n.vantage), 10)
	}
	labels := maps.Clone(w.extra)
	if labels == nil {
		labels = map[string]string{}
	}
	labels["check"] = strconv.FormatInt(int64(n.check), 10)
	labels["device"], labels["kind"], labels["vantage"] = n.device, n.kind, vantage
	l := &line{identity: n.identity, upLive: true, rttLive: true}
	l.up, l.rtt = appendLabels(labels, upName), appendLabels(labels, rttName)
	if w.lines == nil {
		w.lines = map[subject]*line{}
	}
	w.lines[n.subject] = l
	return l
}

// Fields of the messages of prometheus/prompb (remote.proto, types.proto).
const (
	requestSeries   protowire.Number = 1
	seriesLabels    protowire.Number = 1
	seriesSamples   protowire.Number = 2
	labelName       protowire.Number = 1
	labelValue      protowire.Number = 2
	sampleValue     protowire.Number = 1
	sampleTimestamp protowire.Number = 2
)

// appendLabels returns the labels of a TimeSeries, sorted by name.
func appendLabels(labels map[string]string, name string) []byte {
	labels["__name__"] = name
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		var pair []byte
		pair = protowire.AppendString(protowire.AppendTag(pair, labelName, protowire.BytesType), name)
		pair = protowire.AppendString(protowire.AppendTag(pair, labelValue, protowire.BytesType), labels[name])
		b = protowire.AppendBytes(protowire.AppendTag(b, seriesLabels, protowire.BytesType), pair)
	}
	return b
}

// appendSeries appends a TimeSeries of one sample to a WriteRequest.
func appendSeries(b, labels []byte, at int64, v float64) []byte {
	var sample [32]byte
	s := protowire.AppendTag(sample[:0], sampleValue, protowire.Fixed64Type)
	s = binary.LittleEndian.AppendUint64(s, math.Float64bits(v))
	s = protowire.AppendVarint(protowire.AppendTag(s, sampleTimestamp, protowire.VarintType), uint64(at))

	b = protowire.AppendTag(b, requestSeries, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(labels)+1+protowire.SizeBytes(len(s))))
	b = append(b, labels...)
	return protowire.AppendBytes(protowire.AppendTag(b, seriesSamples, protowire.BytesType), s)
}
