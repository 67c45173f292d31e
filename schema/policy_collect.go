package schema

import (
	"fmt"
	"strings"
	"time"
)

const (
	defaultFreezeDelay = time.Minute
	defaultSilentShare = 25
	defaultKeepDays    = 7
	defaultBackDays    = 3
	defaultPoints      = 20
	defaultBatch       = 200
	defaultMaxDelay    = time.Minute

	maxBatch     = 4096 // rows, which is what a message of readings may have
	maxZone      = 14 * time.Hour
	freezeMinute = time.Minute // what freezes are told apart by
)

func (p *Policy) collectDefaults() {
	setDefault(&p.Collect, CollectCurrent)
	if p.Collect == CollectFreeze {
		setDefault(&p.Delay, Duration(defaultFreezeDelay))
	}
	setDefault(&p.Zone, "+00:00")
	setDefault(&p.SilentShare, defaultSilentShare)
	keep := defaultKeepDays
	if p.Backfill != nil {
		setDefault(&p.Backfill.Days, defaultBackDays)
		setDefault(&p.Backfill.MaxPointsPerRead, defaultPoints)
		keep = max(keep, p.Backfill.Days)
	}
	setDefault(&p.Keep, keep)
	setDefault(&p.Report.Every, max(p.Period, Duration(time.Second)))
	setDefault(&p.Report.Batch, defaultBatch)
	setDefault(&p.Report.MaxDelay, Duration(defaultMaxDelay))
}

func (p *Policy) validateCollect(c *check) {
	within(c, "report.every", p.Report.Every, Duration(time.Second), Duration(24*time.Hour))
	within(c, "report.batch", p.Report.Batch, 1, maxBatch)
	within(c, "report.maxDelay", p.Report.MaxDelay, Duration(time.Second), Duration(24*time.Hour))
	c.need(p.Collect == CollectCurrent || p.Collect == CollectFreeze, "collect", "must be current or freeze", p.Collect)
	if p.Delay < 0 || p.Delay >= p.Period {
		c.add("delay", "must be shorter than the period, from 0s on", p.Delay, p.Period)
	}
	_, err := zoneOffset(p.Zone)
	c.need(err == nil, "zone", "must be an offset from UTC such as +08:00, at most 14 hours", p.Zone)
	within(c, "silentShare", p.SilentShare, 1, 100)
	within(c, "keep", p.Keep, 1, MaxKeepDays)
	if p.Collect != CollectFreeze && p.Backfill == nil {
		return
	}
	at := "collect"
	if p.Backfill != nil {
		at = "backfill"
	}
	c.need(p.Source.Kind.Keeps() || p.Source.Kind.Protocol() == "", at, "is for meters that keep what they measured: DL/T 645 and 698.45", p.Source.Kind)
	c.need(p.Period.D() >= freezeMinute && p.Period.D()%freezeMinute == 0 && p.Align.D()%freezeMinute == 0, "period", "and align must be whole minutes, as meters freeze", p.Period)
	p.validateKept(c, at)
	if p.Backfill != nil {
		p.validateBackfill(c)
	}
}

// validateKept makes sure that there is something to read from what meters keep.
func (p *Policy) validateKept(c *check, at string) {
	if p.Collect == CollectFreeze {
		for i := range p.Items {
			c.need(p.keeps(p.Items[i]), index("items", i), "is not in what meters freeze; of the device model such items are left out", p.Items[i].Name)
		}
		return
	}
	for _, m := range p.Meters[:min(len(p.Meters), MaxMeters)] {
		if len(p.KeptOf(m)) > 0 {
			return
		}
	}
	c.need(len(p.Meters) == 0, at, "none of the items is in what meters keep", nil)
}

func (p *Policy) validateBackfill(c *check) {
	b := p.Backfill
	c.need(len(b.At) > 0, "backfill.at", "at least one time is needed, such as +5m or 00:30", nil)
	if len(b.At) > MaxBackfillTimes {
		c.add("backfill.at", "too many times", len(b.At), MaxBackfillTimes)
		return
	}
	for i, at := range b.At {
		after, _, err := BackfillTime(at)
		c.need(err == nil, index("backfill.at", i), "must be a time after each slot such as +5m, or a time of day such as 00:30", at)
		if after >= p.Period.D() {
			c.add(index("backfill.at", i), "must be shorter after the slot than the period", at, p.Period)
		}
	}
	within(c, "backfill.days", b.Days, 1, MaxBackfillDays)
	within(c, "backfill.maxPointsPerRead", b.MaxPointsPerRead, 1, MaxPointsPerRead)
	if p.Keep < b.Days {
		c.add("keep", fmt.Sprintf("must be at least the %d days of backfill", b.Days), p.Keep, nil)
	}
	if p.Period > 0 {
		if slots := time.Duration(b.Days) * 24 * time.Hour / p.Period.D(); slots > MaxBackfillSlots {
			c.add("backfill.days", fmt.Sprintf("are too many at a period of %v: %d slots for each meter", p.Period, slots), int64(slots), MaxBackfillSlots)
		}
	}
}

// BackfillTime reads a time of back-fill: so long after each slot, or at a time
// of day, of which the other is 0.
func BackfillTime(s string) (afterSlot, ofDay time.Duration, err error) {
	if after, ok := strings.CutPrefix(s, "+"); ok {
		d, err := time.ParseDuration(after)
		if err == nil && d <= 0 {
			err = fmt.Errorf("%v is not after the slot", d)
		}
		return d, 0, err
	}
	ofDay, err = clock(s)
	return 0, ofDay, err
}

// zoneOffset reads an offset from UTC.
func zoneOffset(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := clock(s[1:])
	if err == nil && (s[0] != '+' && s[0] != '-' || d > maxZone) {
		err = fmt.Errorf("%s is no offset from UTC", s)
	}
	if s[0] == '-' {
		d = -d
	}
	return d, err
}
