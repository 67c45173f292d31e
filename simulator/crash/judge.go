package crash

import "maps"

// Floor is the least the cloud must hold: what was acknowledged at one moment.
type Floor struct {
	acked    map[Slot]uint32
	versions map[Shadow]uint64
}

// Floor takes down what is acknowledged now.
func (l *Ledger) Floor() Floor {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := Floor{acked: make(map[Slot]uint32, len(l.slots)), versions: make(map[Shadow]uint64, len(l.shadows))}
	for s, e := range l.slots {
		f.acked[s] = e.acked
	}
	for s, v := range l.shadows {
		f.versions[s] = v.highest
	}
	return f
}

// Judge checks the cloud's documents against floor while writing may go on:
// nothing below the floor, nothing that was refused or never written.
func (l *Ledger) Judge(floor Floor, held map[Shadow]Document) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for shadow, least := range floor.versions {
		if got := held[shadow].Version; got < least {
			l.violate("%s: version %d after a restart, %d was seen before", shadow, got, least)
		}
	}
	for slot, least := range floor.acked {
		l.judgeSlot(slot, least, held[slot.Shadow])
	}
}

func (l *Ledger) judgeSlot(slot Slot, least uint32, held Document) {
	e := l.slots[slot]
	value, there := held.Sections[slot.Section][slot.Key()]
	if !there {
		if least > 0 {
			l.violate("%s: %s.%s lost: nothing is held, %s was acknowledged", slot.Shadow, slot.Section, slot.Key(), slot.Token(least))
		}
		return
	}
	w, ok := parseToken(value)
	switch {
	case !ok || w.index != slot.Index || w.n > e.attempted:
		l.violate("%s: %s.%s is %q, which was never written", slot.Shadow, slot.Section, slot.Key(), value)
	case w.n < least:
		l.violate("%s: %s.%s lost: %q is held, %s was acknowledged", slot.Shadow, slot.Section, slot.Key(), value, slot.Token(least))
	case e.refused[w.n]:
		l.violate("%s: %s.%s is %q, which was refused", slot.Shadow, slot.Section, slot.Key(), value)
	}
}

// JudgeEnd checks the documents once no updater writes any more: all of Judge,
// and that unseen versions are no more than writes of unknown fate.
func (l *Ledger) JudgeEnd(held map[Shadow]Document) {
	l.Judge(l.Floor(), held)
	l.mu.Lock()
	defer l.mu.Unlock()
	for shadow, v := range l.shadows {
		got := held[shadow].Version
		unseen := int(got) - len(v.writes)
		if unseen < 0 || unseen > v.uncertain {
			l.violate("%s: version %d, but %d versions were seen and %d writes are of unknown fate", shadow, got, len(v.writes), v.uncertain)
		}
	}
}

// Shadows returns every shadow that was written to.
func (l *Ledger) Shadows() []Shadow {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Shadow, 0, len(l.shadows))
	for s := range maps.Keys(l.shadows) {
		all = append(all, s)
	}
	return all
}
