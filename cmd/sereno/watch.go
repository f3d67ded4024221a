package main

import (
	"context"
	"errors"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// watchEvery is how often a status is asked for while it is watched.
const watchEvery = 2 * time.Second

type (
	seen struct {
		picture picture
		err     error
	}
	lookAgain struct{}
)

// watchStatus shows the status on the terminal until somebody stops it.
func watchStatus(ctx context.Context, c *client) error {
	screen := &statusScreen{ctx: ctx, client: c, width: 80, height: 24}
	_, err := tea.NewProgram(screen, tea.WithContext(ctx), tea.WithoutSignalHandler()).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		err = nil
	}
	return err
}

// A statusScreen is the live status. While the server does not answer, the
// last picture stands below a line that says so.
type statusScreen struct {
	ctx           context.Context
	client        *client
	width, height int
	latest        *picture
	err           error
}

func (s *statusScreen) Init() tea.Cmd { return s.look }

func (s *statusScreen) look() tea.Msg {
	p, err := readPicture(s.ctx, s.client)
	return seen{p, err}
}

func (s *statusScreen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return s, tea.Quit
		}
	case seen:
		if s.err = msg.err; msg.err == nil {
			s.latest = &msg.picture
		}
		return s, tea.Tick(watchEvery, func(time.Time) tea.Msg { return lookAgain{} })
	case lookAgain:
		return s, s.look
	}
	return s, nil
}

func (s *statusScreen) View() tea.View {
	v := tea.NewView(strings.Join(s.draw(), "\n"))
	v.AltScreen = true
	return v
}

func (s *statusScreen) draw() []string {
	var lines []string
	if s.err != nil {
		lines = append(lines, cut(bad.paint("No answer: ")+inert(s.err.Error()), s.width))
	}
	p := s.latest
	if p == nil {
		if s.err == nil {
			lines = append(lines, "Asking …")
		}
		return lines
	}
	lines = append(lines, cut(p.tone().paint(p.Verdict), s.width), "")
	room := s.height - len(lines) - 2 // headings, last line
	shown := p.table(max(1, room), s.width)
	lines = append(lines, shown.lines(s.width)...)
	last := "as of " + moment(p.Statistics.Now) + " · q stops"
	if hidden := len(p.Items) - len(shown.rows); hidden > 0 {
		last = "… and " + counted(hidden, "device") + " in less trouble · " + last
	}
	return append(lines, cut(faint.paint(last), s.width))
}
