package config

import (
	"bytes"

	"go.yaml.in/yaml/v4"
)

// chunkSize is how many bytes of devices are parsed at once. A file whose
// devices fit into one chunk is not cut.
const chunkSize = 128 << 10

// A division is a file cut into its devices, in chunks, and the rest.
//
// Nearly all of a large file is the block list below "devices:". Cut before
// the items of that list, each chunk is a YAML list of its own; the parser's
// state at a cut is the same as at the start of a chunk, unless the cut fell
// into something that is still open (a quoted text, a flow list). Then the
// chunk before it cannot be parsed, as it ends too early. A chunk that refers
// to an anchor outside cannot be parsed either. So if the rest and all chunks
// are parsed, they mean what the whole means; else the whole is parsed.
type division struct {
	rest     []byte // the file without the lines of the devices
	line     int    // of "devices:"
	lines    int    // how many were taken out after it
	sections []*section
}

// divide cuts text. It is not ok when text is small, or shaped in a way in
// which a cut might change what it means.
func divide(text []byte, size int) (d division, ok bool) {
	if len(text) <= size || oddBreaks(text) {
		return d, false
	}
	begin, end := -1, len(text)
	indent := -1 // columns before the hyphen of an item
	var starts []int
	var startLines []int
	line := 0
	for at := 0; at < len(text); {
		next := len(text)
		if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		full := text[at:next]
		line++
		content := bytes.TrimLeft(full, " ")
		column := len(full) - len(content)
		blank := len(bytes.TrimSpace(content)) == 0 || content[0] == '#'
		item := len(content) > 1 && content[0] == '-' && (content[1] == ' ' || content[1] == '\n')
		switch {
		case begin < 0:
			if full[0] == '%' {
				return d, false // a directive would hold for the chunks as well
			}
			if bytes.Equal(bytes.TrimSpace(full), []byte("devices:")) && column == 0 {
				begin, d.line = next, line
			}
		case blank:
		case indent < 0:
			if !item {
				return d, false
			}
			indent = column
			starts, startLines = append(starts, at), append(startLines, line)
		case column == indent && item:
			if at-starts[len(starts)-1] >= size {
				starts, startLines = append(starts, at), append(startLines, line)
			}
		case column == 0:
			end = at
		}
		if end < len(text) {
			line--
			break
		}
		at = next
	}
	if len(starts) < 2 {
		return d, false
	}
	d.lines = line - d.line
	d.rest = append(append(make([]byte, 0, begin+len(text)-end), text[:begin]...), text[end:]...)
	for i, at := range starts {
		to := end
		if i+1 < len(starts) {
			to = starts[i+1]
		}
		d.sections = append(d.sections, &section{text: text[at:to], shift: startLines[i] - 1})
	}
	return d, true
}

// oddBreaks reports whether YAML may see line breaks where we see none, or
// none where we do.
func oddBreaks(text []byte) bool {
	if bytes.Count(text, []byte("\r")) != bytes.Count(text, []byte("\r\n")) {
		return true
	}
	for _, odd := range []string{"\x00", "\u0085", "\u2028", "\u2029"} {
		if bytes.Contains(text, []byte(odd)) {
			return true
		}
	}
	return false
}

// fits reports whether the rest, parsed, has an empty "devices:" where the
// devices were taken out.
func (d division) fits(root *yaml.Node) bool {
	if root == nil || root.Kind != yaml.MappingNode {
		return false
	}
	k, v := entry(root, "devices")
	return k != nil && k.Line == d.line && k.Column == 1 && v.Kind == yaml.ScalarNode && v.Tag == "!!null" && v.Anchor == ""
}
