package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// redraw is how often a live table is drawn anew.
const redraw = 200 * time.Millisecond

type tick struct{}

func nextTick() tea.Cmd { return tea.Tick(redraw, func(time.Time) tea.Msg { return tick{} }) }

// showLive draws the sweep on the terminal until ctx ends or somebody stops
// it. It draws on the terminal's other screen, so what it drew is gone
// afterwards, and the result takes its place.
func showLive(ctx context.Context, s *sweep) error {
	_, err := tea.NewProgram(&pingScreen{sweep: s, width: 80, height: 24}, tea.WithContext(ctx), tea.WithoutSignalHandler()).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// A pingScreen is the live table of a ping.
type pingScreen struct {
	sweep         *sweep
	width, height int
	lines         []string
}

func (p *pingScreen) Init() tea.Cmd { return nextTick() }

func (p *pingScreen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		p.width, p.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return p, tea.Quit
		}
	case tick:
		p.lines = p.draw()
		return p, nextTick()
	}
	return p, nil
}

func (p *pingScreen) View() tea.View {
	v := tea.NewView(strings.Join(p.lines, "\n"))
	v.AltScreen = true
	return v
}

// draw makes the lines of the screen: the hosts that there is room for, those
// in trouble first if there is not room for all, and a line or two about all.
func (p *pingScreen) draw() []string {
	s := p.sweep
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = nil
	t := s.totals()
	room := p.height - 2 // headings, what all are
	if s.count > 0 {
		room--
	}
	if len(s.hosts) > room {
		room-- // how many there is no room for
	}
	shown := newPingTable(t.faults > 0)
	for _, i := range s.worst(max(1, room)) {
		shown.add(pingRow(&s.hosts[i], &s.tallies[i], t.faults > 0)...)
	}
	lines := shown.lines(p.width)
	if hidden := len(s.hosts) - len(shown.rows); hidden > 0 {
		lines = append(lines, cut(faint.paint("… and "+counted(hidden, "host")+" in less trouble"), p.width))
	}
	if s.count > 0 {
		lines = append(lines, bar(s.ended, s.total(), p.width))
	}
	return append(lines, cut(t.sentence(time.Since(s.began))+faint.paint(" · q stops"), p.width))
}

// worst returns the indices of at most n hosts: in the order given if that is
// all of them, else those in most trouble first.
func (s *sweep) worst(n int) []int {
	order := make([]int, len(s.hosts))
	for i := range order {
		order[i] = i
	}
	if len(order) <= n {
		return order
	}
	rank := make([]int, len(s.hosts)) // higher is worse
	for i := range rank {
		t := &s.tallies[i]
		rank[i] = int(t.condition()) * 1001
		if t.sent > 0 {
			rank[i] += int(1000 * t.lost() / t.sent)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank[b] - rank[a] })
	return order[:n]
}

// bar shows how far a long ping is.
func bar(done, of uint64, width int) string {
	label := fmt.Sprintf(" %s of %s looks", grouped(fmt.Sprint(done)), grouped(fmt.Sprint(of)))
	room := min(60, width-len(label))
	if room < 10 {
		return cut(label, width)
	}
	full := int(uint64(room) * done / max(1, of))
	return good.paint(strings.Repeat("█", full)) + faint.paint(strings.Repeat("░", room-full)) + label
}
