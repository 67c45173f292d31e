package schema

import (
	"math"
	"time"
)

// Sampling sets how often a node measures what it and its applications use, and
// what of that goes into reports.
type Sampling struct {
	Interval Duration `json:"interval"` // between measurements, 1s to 1h; default 15s
	Disk     Duration `json:"disk"`     // between looks at what an application has on disk, 10s to 24h; default 5m
	Report   Duration `json:"report"`   // at least between two reports, 1s to 24h; default 1m
	DeadBand Level    `json:"deadBand"` // a change of less is not reported, 0% to 100%; default 10%
}

func (s *Sampling) complete(c *check) {
	setDefault(&s.Interval, Duration(15*time.Second))
	setDefault(&s.Disk, Duration(5*time.Minute))
	setDefault(&s.Report, Duration(time.Minute))
	if s.DeadBand.IsZero() {
		s.DeadBand = Percentage(10)
	}
	within(c, "node.sampling.interval", s.Interval, Duration(time.Second), Duration(time.Hour))
	within(c, "node.sampling.disk", s.Disk, Duration(10*time.Second), Duration(24*time.Hour))
	within(c, "node.sampling.report", s.Report, Duration(time.Second), Duration(24*time.Hour))
	c.need(s.DeadBand.Percent && s.DeadBand.Value <= 100, "node.sampling.deadBand", "must be a percentage from 0% to 100%", s.DeadBand.text)
}

// Disk sets how much of the file system of a node's data is kept free. What is
// neither wanted nor running nor what was applied last is deleted for it, the
// longest unused first.
type Disk struct {
	CollectBelow Level `json:"collectBelow"` // with less than that free it begins; default 15%
	CollectUntil Level `json:"collectUntil"` // it ends with that much free; default 20%
	Reserve      Level `json:"reserve"`      // unpacking leaves so much free; default 5%, but no more than 64Mi
	Sources      bool  `json:"sources"`      // archives and layouts of the components directory are deleted, too, once their trees are gone
}

// ReserveMost bounds the default of Disk.Reserve.
const ReserveMost Bytes = 64 << 20

// Reserved returns what unpacking leaves free of so many bytes.
func (d *Disk) Reserved(all float64) float64 {
	if d.Reserve.IsZero() {
		return math.Min(all/20, float64(ReserveMost))
	}
	return d.Reserve.Of(all)
}

func (d *Disk) complete(c *check) {
	if d.CollectBelow.IsZero() && d.CollectUntil.IsZero() {
		d.CollectBelow, d.CollectUntil = Percentage(15), Percentage(20)
	}
	c.need(!d.CollectBelow.IsZero(), "node.disk.collectBelow", "must be given with collectUntil", nil)
	c.need(!d.CollectUntil.IsZero(), "node.disk.collectUntil", "must be given with collectBelow", nil)
	for _, l := range []struct {
		name  string
		level Level
	}{{"collectBelow", d.CollectBelow}, {"collectUntil", d.CollectUntil}, {"reserve", d.Reserve}} {
		c.need(l.level.unit != unitMilli, "node.disk."+l.name, `is bytes such as "2Gi", or a percentage`, l.level.text)
		c.need(!l.level.Percent || l.level.Value <= 90, "node.disk."+l.name, "must be at most 90%", l.level.text)
	}
	switch {
	case d.CollectBelow.Percent != d.CollectUntil.Percent:
		c.add("node.disk.collectUntil", "must be a percentage if collectBelow is one, and else not", d.CollectUntil.text, d.CollectBelow.text)
	case d.CollectUntil.Value < d.CollectBelow.Value:
		c.add("node.disk.collectUntil", "must not be less than collectBelow", d.CollectUntil.text, d.CollectBelow.text)
	}
}
