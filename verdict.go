package sereno

import "time"

// A Verdict is what becomes of a proof that something is Down, once the
// witnesses and the parents were heard.
type Verdict uint8

const (
	Stand  Verdict = iota // it is Down by itself
	Wait                  // ask, and decide a little later
	CutOff                // this vantage point cannot see: it says nothing about the target
	Behind                // it is Down because everything it hangs on is Down
)

// WitnessPolicy is how witnesses are looked at.
var WitnessPolicy = Policy{Interval: time.Second, Timeout: time.Second, Fall: 3, Rise: 2}

// MassDoubt is the share of all targets that were Up whose doubt, while the
// witnesses fail too, says that it is the vantage point that was cut off.
const MassDoubt = 0.8

// A Witness is something beside the targets that shows whether this vantage
// point can see at all: its default gateways, and what the user named.
type Witness struct {
	State   State
	Trusted bool // it has answered before, or the user vouches for it
}

// Next folds one look at a witness. A look that found no route is bad news
// here: a way out that is gone is what witnesses are asked about.
func (w Witness) Next(r Result) Witness {
	if r.Fault == NoRoute {
		r.Status = Down
	}
	w.State, _ = w.State.Lapse(WitnessPolicy, r.At)
	w.State, _ = w.State.Next(WitnessPolicy, r)
	w.Trusted = w.Trusted || r.Status.Answered()
	return w
}

// failing reports whether the latest look at w was not answered.
func (w Witness) failing() bool { return w.State.Tail.Status == Down && w.State.Tail.Count > 0 }

// Isolated says whether a vantage point is cut off. It is when every trusted
// witness fails and either all of them are proven Down, or the share doubted
// of the targets that were Up has fallen into doubt. It stays so until a
// witness has answered Rise looks in a row.
func Isolated(before bool, witnesses []Witness, doubted float64) bool {
	trusted, failing, down, back := 0, 0, 0, 0
	for _, w := range witnesses {
		if !w.Trusted {
			continue
		}
		trusted++
		if w.failing() {
			failing++
		}
		if w.State.Status == Down {
			down++
		}
		if t := w.State.Tail; t.Status.Answered() && int(t.Count) >= WitnessPolicy.Rise {
			back++
		}
	}
	if trusted == 0 {
		return false
	}
	if before {
		return back == 0
	}
	return failing == trusted && (down == trusted || doubted >= MassDoubt)
}

// Corroborate weighs a proof of Down, completed by the look at proof, against
// the witnesses. A witness that answered a look of that moment or later shows
// that we could see; while none has, it waits. When waiting ends (late), the
// proof stands unless every trusted witness fails too.
func Corroborate(proof Instant, witnesses []Witness, isolated, late bool) Verdict {
	if isolated {
		return CutOff
	}
	trusted, failing := 0, 0
	for _, w := range witnesses {
		if !w.Trusted {
			continue
		}
		trusted++
		if w.State.Answered >= proof {
			return Stand
		}
		if w.failing() {
			failing++
		}
	}
	switch {
	case trusted == 0:
		return Stand
	case !late:
		return Wait
	case failing == trusted:
		return CutOff
	default:
		return Stand
	}
}

// A Parent is what is known of a device that another one hangs on.
type Parent struct {
	Status   Status
	Answered Instant // its latest answered look
}

// BehindParents weighs a proof of Down, completed by the look at proof,
// against the parents. One parent that answered a look of that moment or later
// shows that the way was open; when all are Down, it is behind them. When
// waiting ends (late), it stands.
func BehindParents(proof Instant, parents []Parent, late bool) Verdict {
	if len(parents) == 0 {
		return Stand
	}
	down := 0
	for _, p := range parents {
		if p.Answered >= proof {
			return Stand
		}
		if p.Status == Down {
			down++
		}
	}
	switch {
	case down == len(parents):
		return Behind
	case late:
		return Stand
	default:
		return Wait
	}
}
