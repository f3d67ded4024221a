package prometheus_test

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/prometheus/remote"
)

// A real Prometheus that is killed while samples come has all of them in the
// end, each once.
func TestARealStoreIsKilled(t *testing.T) {
	p := startReal(t)
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	devices, _ := story(begin)
	s := remote.New(remote.Options{
		Dir: t.TempDir(), Targets: []remote.Target{{Name: "real", URL: p.url("/api/v1/write"), Labels: map[string]string{"site": "plant1"}}},
		Agent: "sereno/test", Log: slog.New(slog.DiscardHandler),
	})
	s.Know(devices)
	run(t, s.Run)
	const seconds = 1500
	for i := range seconds {
		var batch []sereno.Result
		for _, d := range devices {
			batch = append(batch, sereno.Result{Check: d.Checks[0].ID, At: sereno.At(begin.Add(time.Duration(i) * time.Second)), Status: sereno.Up, RTT: time.Duration(i+1) * time.Microsecond})
		}
		s.Keep(batch)
		switch i {
		case 400:
			p.kill()
		case 800:
			p.start()
		case 1200:
			p.kill()
			p.start()
		}
		time.Sleep(time.Millisecond) // so that some are on their way
	}
	end := begin.Add(seconds * time.Second)
	for _, d := range devices {
		query := fmt.Sprintf(`count_over_time(sereno_rtt_seconds{check="%d",site="plant1"}[1h])`, d.Checks[0].ID)
		eventually(t, "all samples of "+d.Name+" arrive", func() bool {
			_, doc := get(t, p.url("/api/v1/query?")+url.Values{"query": {query}, "time": {unix(end)}}.Encode())
			return strings.Contains(fmt.Sprint(doc), fmt.Sprintf(" %d]", seconds))
		})
	}
	_, doc := get(t, p.url("/api/v1/query?")+url.Values{"query": {`sum(sum_over_time(sereno_rtt_seconds[1h]))`}, "time": {unix(end)}}.Encode())
	want := 0.0
	for i := range seconds {
		want += 6 * sereno.StoredRTT(time.Duration(i+1)*time.Microsecond)
	}
	if got := doc["data"].(map[string]any)["result"].([]any)[0].(map[string]any)["value"].([]any)[1]; difference("", got, fmt.Sprint(want)) != "" {
		t.Errorf("the sum of all is %v, not %v", got, want)
	}
}
