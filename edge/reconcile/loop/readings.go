package loop

import (
	"maps"
	"slices"
	"time"

	"gnomon/edge/collect"
	"gnomon/schema"
	"gnomon/shadow"
)

// maxReadings bounds the readings in one shadow, in bytes, so that the report of
// a large policy still fits in. What is left out is counted.
const (
	maxReadings = 24 << 10
	maxStored   = 8 << 10 // where a store has them all, and the cloud has them from there
)

// beside is what else a report says, at the most, that isn't in desired.
const beside = 8 << 10

// room is what desired, and reported which mirrors it, leave for readings.
func room(desired *shadow.Value, stored bool) int {
	most := maxReadings
	if stored {
		most = maxStored
	}
	return min(most, max(shadow.DefaultLimits.StateBytes-2*len(desired.AppendJSON(nil))-beside, 0))
}

// report builds what a policy's shadow says.
func (p *policy) report(s Policy, r collect.Report) *shadow.Value {
	readings, omitted := readingsOf(r.Readings, room(p.applied.Desired, r.Stored), p.earlier())
	cycle, task, backfill := cycleOf(r.Cycle), taskOf(r.Task), fillingOf(r.Backfill)
	if p.changes && r.Cycle.Success == r.Cycle.Meters && p.cycle != nil && p.cycle.Get("error") == nil {
		cycle, task = p.cycle, p.task // nothing went wrong then or now: when that was found is no news
		if shadow.Equal(backfill.Get("points"), p.backfill.Get("points")) && shadow.Equal(backfill.Get("left"), p.backfill.Get("left")) {
			backfill = p.backfill
		}
	}
	p.readings, p.cycle, p.task, p.backfill = readings, cycle, task, backfill
	members := []shadow.Member{
		{Key: "phase", Value: shadow.Text(s.Phase)},
		{Key: "observedVersion", Value: shadow.Uint(s.ObservedVersion)},
		{Key: "error", Value: faultValue(p.fault)},
		{Key: schema.PlanMember, Value: s.Plan.Value()},
		{Key: "readings", Value: readings},
		{Key: "cycle", Value: cycle},
		{Key: "task", Value: task},
		{Key: "missing", Value: missingOf(r.Readings)},
	}
	if backfill != nil {
		members = append(members, shadow.Member{Key: "filled", Value: backfill})
	}
	if r.Faults > 0 {
		members = append(members, shadow.Member{Key: "faults", Value: shadow.Uint(r.Faults)})
	}
	if omitted > 0 {
		members = append(members, shadow.Member{Key: "omitted", Value: shadow.Int(int64(omitted))})
	}
	return mirror(p.applied, members...)
}

// earlier are the readings to keep where nothing changed; nil when all count.
func (p *policy) earlier() *shadow.Value {
	if !p.changes {
		return nil
	}
	return p.readings
}

// readingsOf writes readings by meter and item. Those that say the same as an
// earlier one stay as that was. omitted counts the meters for which there was
// no room, in bytes.
func readingsOf(all map[string]map[string]collect.Reading, room int, earlier *shadow.Value) (v *shadow.Value, omitted int) {
	meters := make([]shadow.Member, 0, len(all))
	size := 0
	for _, meter := range slices.Sorted(maps.Keys(all)) {
		items := make([]shadow.Member, 0, len(all[meter]))
		for name, reading := range all[meter] {
			one := readingValue(reading)
			if before := earlier.At(meter, name); before != nil && sameReading(before, one) {
				one = before
			}
			items = append(items, shadow.Member{Key: name, Value: one})
		}
		m := shadow.NewObject(items...)
		if size += len(meter) + len(m.AppendJSON(nil)) + 4; size > room {
			omitted++
			continue
		}
		meters = append(meters, shadow.Member{Key: meter, Value: m})
	}
	return shadow.NewObject(meters...), omitted
}

func readingValue(r collect.Reading) *shadow.Value {
	members := []shadow.Member{{Key: "value", Value: r.Value}, {Key: "at", Value: moment(r.At)}}
	if r.Quality != collect.Good {
		members = append(members,
			shadow.Member{Key: "quality", Value: shadow.Text(string(r.Quality))},
			shadow.Member{Key: "reason", Value: shadow.Text(r.Reason)})
	}
	return shadow.NewObject(members...)
}

// sameReading compares all but the time.
func sameReading(a, b *shadow.Value) bool {
	for _, key := range []string{"value", "quality", "reason"} {
		if !shadow.Equal(a.Get(key), b.Get(key)) {
			return false
		}
	}
	return true
}

func cycleOf(c collect.Cycle) *shadow.Value {
	if c.At.IsZero() {
		return nil
	}
	members := []shadow.Member{
		{Key: "at", Value: moment(c.At)},
		{Key: "durationMs", Value: shadow.Int(c.Duration.Milliseconds())},
		{Key: "meters", Value: shadow.Int(int64(c.Meters))},
		{Key: "success", Value: shadow.Int(int64(c.Success))},
		{Key: "frames", Value: shadow.Int(int64(c.Frames))},
		{Key: "overruns", Value: shadow.Uint(c.Overruns)},
	}
	if c.GivenUp > 0 {
		members = append(members, shadow.Member{Key: "givenUp", Value: shadow.Int(int64(c.GivenUp))})
	}
	if c.Error != "" {
		members = append(members, shadow.Member{Key: "error", Value: shadow.Text(clip(c.Error))})
	}
	return shadow.NewObject(members...)
}

// moment is a time of a reading: milliseconds are as fine as meters are read.
func moment(t time.Time) *shadow.Value {
	if t.IsZero() {
		return nil
	}
	return shadow.Text(t.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}
