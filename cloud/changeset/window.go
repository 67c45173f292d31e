package changeset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Window is when changes may be made: on some days of the week from one time of
// the day to another, by the clock on the wall of a zone. One that ends at or
// before the time it begins at ends on the day after; the days are those it
// begins on. What the wall clock leaves out when it is put forward is no part of
// a window, and what it shows twice when it is put back is twice.
type Window struct {
	Days []string `json:"days,omitempty"` // mon to sun; none: every day
	From string   `json:"from"`           // 15:04
	To   string   `json:"to"`             // 15:04, or 24:00
	Zone string   `json:"zone,omitempty"` // IANA name; "" = UTC
}

// days are the words for days, as time.Weekday counts them.
var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

const day = 24 * time.Hour

// ParseWindow reads DAYS FROM-TO ZONE, such as "mon-fri 22:00-04:00
// Europe/Berlin" or "sat,sun 00:00-24:00". Days and zone may be left out.
func ParseWindow(text string) (Window, error) {
	var w Window
	fields := strings.Fields(text)
	if len(fields) > 0 && !strings.Contains(fields[0], ":") {
		for part := range strings.SplitSeq(strings.ToLower(fields[0]), ",") {
			first, last, spans := strings.Cut(part, "-")
			if !spans {
				w.Days = append(w.Days, part)
				continue
			}
			a, b := slices.Index(days, first), slices.Index(days, last)
			if a < 0 || b < 0 {
				return w, fmt.Errorf("days are mon, tue, wed, thu, fri, sat, sun; got %q", part)
			}
			for ; a != b; a = (a + 1) % len(days) {
				w.Days = append(w.Days, days[a])
			}
			w.Days = append(w.Days, days[b])
		}
		fields = fields[1:]
	}
	if len(fields) == 0 || len(fields) > 2 {
		return w, fmt.Errorf("a window is DAYS FROM-TO ZONE, such as %q; got %q", "mon-fri 22:00-04:00 Europe/Berlin", text)
	}
	var ok bool
	if w.From, w.To, ok = strings.Cut(fields[0], "-"); !ok {
		return w, fmt.Errorf("times are FROM-TO, such as 22:00-04:00; got %q", fields[0])
	}
	if len(fields) == 2 {
		w.Zone = fields[1]
	}
	_, err := w.hours()
	return w, err
}

// UnmarshalJSON reads a window as an object, or as the text of ParseWindow.
func (w *Window) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		parsed, err := ParseWindow(text)
		*w = parsed
		return inWindows(err)
	}
	type plain Window
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode((*plain)(w)); err != nil {
		return inWindows(err)
	}
	for i, d := range w.Days {
		w.Days[i] = strings.ToLower(d)
	}
	_, err := w.hours()
	return inWindows(err)
}

func inWindows(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("windows: %w", err)
}

// hours is a window taken apart.
type hours struct {
	zone     *time.Location
	from, to time.Duration // since midnight; to is from 1m to 48h
	on       [7]bool
}

func (w Window) hours() (h hours, err error) {
	if h.zone, err = time.LoadLocation(w.Zone); err != nil || w.Zone == "Local" {
		return h, fmt.Errorf("zone %q is not known; give an IANA name, such as Europe/Berlin, or none for UTC", w.Zone)
	}
	if h.from, err = clock(w.From); err == nil {
		h.to, err = clock(w.To)
	}
	if err != nil {
		return h, err
	}
	if h.from == day {
		return h, errors.New("from is 24:00; a day begins at 00:00")
	}
	if h.to <= h.from {
		h.to += day
	}
	for _, d := range w.Days {
		i := slices.Index(days, d)
		if i < 0 {
			return h, fmt.Errorf("days are mon, tue, wed, thu, fri, sat, sun; got %q", d)
		}
		h.on[i] = true
	}
	if len(w.Days) == 0 {
		h.on = [7]bool{true, true, true, true, true, true, true}
	}
	return h, nil
}

// clock reads hours and minutes.
func clock(s string) (time.Duration, error) {
	if s == "24:00" {
		return day, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, fmt.Errorf("times are written 15:04; got %q", s)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

// wall is what the clock on the wall shows: the day of the week, and the time
// since its midnight.
func (h hours) wall(t time.Time) (weekday int, since time.Duration) {
	t = t.In(h.zone)
	hour, minute, second := t.Clock()
	return int(t.Weekday()), time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second
}

func (h hours) open(t time.Time) bool {
	today, since := h.wall(t)
	yesterday := (today + 6) % 7
	return h.on[today] && since >= h.from && since < h.to || h.on[yesterday] && since+day < h.to
}

// next returns the first moment from t on at which the window is open.
func (h hours) next(t time.Time) time.Time {
	// Each round ends at a beginning by the wall clock of now, or where that clock
	// is put forward or back, if that is sooner.
	for range 1000 {
		if h.open(t) {
			return t
		}
		today, since := h.wall(t)
		begin := t
		for n := range 8 {
			if begin = t.Add(time.Duration(n)*day + h.from - since); h.on[(today+n)%7] && begin.After(t) {
				break
			}
		}
		if _, change := t.In(h.zone).ZoneBounds(); !change.IsZero() && change.Before(begin) {
			begin = change
		}
		t = begin
	}
	return t
}

// NextOpen returns the first second from t on at which one of the windows is
// open; without windows that is t.
func NextOpen(windows []Window, t int64) int64 {
	if len(windows) == 0 {
		return t
	}
	best := int64(1<<62 - 1)
	for _, w := range windows {
		h, err := w.hours()
		if err != nil {
			continue // it was checked when it came; a zone that is gone since never opens
		}
		best = min(best, h.next(time.Unix(t, 0)).Unix())
	}
	return best
}
