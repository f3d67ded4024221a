package storetest

import (
	"time"

	"sereno"
	"sereno/ledger"
)

func policies(b *rig) {
	ctx := b.Context()
	d := b.add(device("a"))[0]
	check := d.Checks[0].ID
	is := func(what string, want ...sereno.PolicySince) {
		b.Helper()
		got, err := b.Policies(ctx, check)
		b.must(err)
		same(b, what, got, want)
	}
	first := sereno.PolicySince{Check: check, Since: t0, Policy: d.Checks[0].Policy}
	is("of a new check", first)

	change := func(at sereno.Instant, p sereno.Policy, tags ...string) {
		b.Helper()
		d.Checks[0].Policy, d.Tags = p, tags
		_, changed, err := b.ReplaceDevice(ctx, d, at)
		b.must(err)
		d = changed
	}
	change(at(10), first.Policy, "moved")
	is("of a device that was changed otherwise", first)

	second := sereno.PolicySince{Check: check, Since: at(20), Policy: first.Policy}
	second.Policy.Fall, second.Policy.LossAbove, second.Policy.LossWindow = 7, 0.25, 90*time.Second
	change(at(20), second.Policy)
	is("changed", first, second)

	second.Since = at(20.5)
	for range 2 { // an entry may be repeated
		b.commit(ledger.Entry{Policies: []sereno.PolicySince{{Check: check, Since: at(20.5)}}})
	}
	is("in force a little later", first, second)

	second.Policy.Rise = 9
	change(at(20.5), second.Policy)
	is("changed twice in one moment", first, second)

	_, err := b.RemoveDevice(ctx, d.ID, at(30))
	b.must(err)
	is("of a check that was removed", first, second)

	filed := device("filed")
	applied, err := b.ApplyFile(ctx, []sereno.Device{filed}, at(40))
	b.must(err)
	check = applied.Added[0].Checks[0].ID
	third := sereno.PolicySince{Check: check, Since: at(40), Policy: filed.Checks[0].Policy}
	is("of the file", third)
	filed.Checks[0].Policy.Rise = 5
	_, err = b.ApplyFile(ctx, []sereno.Device{filed}, at(50))
	b.must(err)
	is("changed in the file", third, sereno.PolicySince{Check: check, Since: at(50), Policy: filed.Checks[0].Policy})
	check = 1 << 40
	is("of nobody")
}

func starts(b *rig) {
	list := []sereno.Start{{At: at(1), Version: "1.0"}, {At: at(5), Settled: at(4), Version: "1.0"}, {At: at(9), Settled: at(8), Version: "1.1"}}
	for range 2 { // an entry may be repeated
		b.commit(ledger.Entry{Starts: list})
	}
	got, err := b.Starts(b.Context(), at(1), at(9))
	b.must(err)
	same(b, "in a window", got, list[:2])
	got, err = b.Starts(b.Context(), at(1.5), at(100))
	b.must(err)
	same(b, "later", got, list[1:])
}
