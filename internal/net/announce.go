package net

import (
	"slices"
	"time"

	"govmd/internal/qmp"
)

// AnnounceParameters say how often cards are announced, and which.
type AnnounceParameters struct {
	Initial    int64    `qmp:"initial"` // ms before the second round
	Max        int64    `qmp:"max"`     // ms between rounds at most
	Rounds     int64    `qmp:"rounds"`
	Step       int64    `qmp:"step"` // ms by which the time between rounds grows
	Interfaces []string `qmp:"interfaces,optional"`
	ID         *string  `qmp:"id"` // of these announcements: later ones of the same ID replace them
}

// The bounds of these parameters.
const (
	maxInitial = 100_000
	maxMax     = 100_000
	maxRounds  = 1_000
	maxStep    = 10_000
)

func (p *AnnounceParameters) check() error {
	for _, c := range []struct {
		name            string
		value, min, max int64
	}{
		{"announce-initial", p.Initial, 0, maxInitial}, {"announce-max", p.Max, 0, maxMax},
		{"announce-rounds", p.Rounds, 0, maxRounds}, {"announce-step", p.Step, 0, maxStep},
	} {
		if c.value < c.min || c.value > c.max {
			return qmp.Errorf("Parameter '%s' expects a value in the range of %d to %d", c.name, c.min, c.max)
		}
	}
	return nil
}

// announcements are those that go on, by their IDs. Lane only.
type announcements struct {
	byID map[string]*announcement
}

type announcement struct {
	net    *Net
	id     string
	p      AnnounceParameters
	rounds int64 // that have been
	timer  *time.Timer
	ended  bool
}

// maxAnnouncements bounds how many there are at once.
const maxAnnouncements = 64

// Announce tells the network about cards, now and some times more.
func (n *Net) Announce(p AnnounceParameters) error {
	if err := p.check(); err != nil {
		return err
	}
	a := &announcement{net: n, p: p}
	if p.ID != nil {
		a.id = *p.ID
	}
	all := &n.announcements
	if old := all.byID[a.id]; old != nil {
		old.end()
	} else if len(all.byID) >= maxAnnouncements {
		return qmp.Errorf("There are %d announcements already", maxAnnouncements)
	}
	if all.byID == nil {
		all.byID = map[string]*announcement{}
	}
	all.byID[a.id] = a
	a.round()
	return nil
}

// round announces the cards and has the next round follow.
func (a *announcement) round() {
	if a.ended {
		return
	}
	for _, c := range a.net.nics {
		if len(a.p.Interfaces) == 0 || slices.Contains(a.p.Interfaces, c.Name) {
			c.Card.Announce()
		}
	}
	if a.rounds++; a.rounds >= a.p.Rounds {
		a.end()
		return
	}
	wait := min(a.p.Initial+(a.rounds-1)*a.p.Step, a.p.Max)
	a.timer = time.AfterFunc(time.Duration(wait)*time.Millisecond, func() { a.net.Env.Lane.Post(a.round) })
}

func (a *announcement) end() {
	a.ended = true
	if a.timer != nil {
		a.timer.Stop()
	}
	delete(a.net.announcements.byID, a.id)
}

func (s *announcements) close() {
	for _, a := range s.byID {
		a.end()
	}
}
