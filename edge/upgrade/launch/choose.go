package launch

import (
	"fmt"
	"path/filepath"
	"strings"

	"gnomon/edge/upgrade/slot"
)

// The limits of a version.
const (
	maxCrashes = 3 // bad starts
	maxIO      = 5 // starts of a trial that ended for the disk's sake
	maxStarts  = 8 // starts of a trial, however they ended: a node that goes down with every one of them is worth no more
)

// choice is what to start.
type choice struct {
	dir    string
	starts slot.Starts
}

// choose gives up what has to be given up, and returns what is to be started.
func (l *Launcher) choose() (choice, error) {
	if dir := l.cfg.Dir.Target(slot.New); dir != "" {
		s := l.startsOf(dir, true)
		code, reason := over(s)
		if err := slot.Usable(dir); err != nil {
			code, reason = slot.CodeUnusable, err.Error()
		}
		if code == "" {
			return choice{dir, s}, nil
		}
		if err := l.giveUp(dir, code, reason, l.cfg.Dir.Reject); err != nil {
			return choice{}, err
		}
	}
	if l.starts.Trial {
		l.starts = slot.Starts{}
	}
	if err := l.cfg.Dir.ForgetTrial(); err != nil {
		l.cfg.Log.Warn("what was counted of a trial can't be forgotten", "error", err)
	}
	dir := l.cfg.Dir.Target(slot.Current)
	old := l.cfg.Dir.Target(slot.Old)
	s := l.startsOf(dir, false)
	unusable := error(nil)
	if dir != "" {
		unusable = slot.Usable(dir)
	}
	back := old != "" && slot.Usable(old) == nil
	switch {
	case dir == "":
		return choice{l.cfg.Factory, l.startsOf(l.cfg.Factory, false)}, nil
	case unusable == nil && (s.Crashes < maxCrashes || !back):
		return choice{dir, s}, nil
	case back:
		code, reason := slot.CodeCrashed, s.Reason
		if unusable != nil {
			code, reason = slot.CodeUnusable, unusable.Error()
		}
		if err := l.giveUp(dir, code, reason, l.cfg.Dir.Return); err != nil {
			return choice{}, err
		}
		return choice{old, l.startsOf(old, false)}, nil
	default:
		err := l.giveUp(dir, slot.CodeUnusable, unusable.Error(), l.cfg.Dir.Factory)
		return choice{l.cfg.Factory, l.startsOf(l.cfg.Factory, false)}, err
	}
}

// over tells why a trial is over, "" if it isn't.
func over(s slot.Starts) (code, reason string) {
	switch {
	case s.Crashes >= maxCrashes:
		return slot.CodeCrashed, fmt.Sprintf("%d bad starts, the last one: %s", s.Crashes, s.Reason)
	case s.IO >= maxIO:
		return slot.CodeIO, fmt.Sprintf("ended %d times for the disk's sake, the last time: %s", s.IO, s.Reason)
	case s.Starts >= maxStarts:
		return slot.CodeInterrupted, fmt.Sprintf("started %d times and never healthy for long enough", s.Starts)
	}
	return "", ""
}

// giveUp writes why, then does it: after a crash in between it is done again.
func (l *Launcher) giveUp(dir, code, reason string, act func() error) error {
	l.cfg.Log.Warn("version given up", "version", filepath.Base(dir), "code", code, "reason", reason)
	v := slot.Verdict{
		Name: filepath.Base(dir), Code: code, Message: strings.ToValidUTF8(reason, "?"), At: l.cfg.Now(),
		Retryable: code == slot.CodeIO || code == slot.CodeInterrupted || code == slot.CodeCloud,
	}
	if err := l.cfg.Dir.SetVerdict(v); err != nil {
		return err
	}
	return act()
}

// startsOf returns what was counted of a version. What could not be written is
// remembered for as long as the launcher runs.
func (l *Launcher) startsOf(dir string, trial bool) slot.Starts {
	if l.starts.Target == dir && l.starts.Trial == trial {
		return l.starts
	}
	return l.cfg.Dir.Starts(dir, trial)
}
