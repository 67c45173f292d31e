package day

import (
	"time"
)

// Config of a day. Zero fields have the defaults given.
type Config struct {
	Seed    uint64
	Meters  int           // of the area that is looked at; default 300
	Changed int           // meters of a second area of the node, whose policy is changed at half time; default 60
	Beside  int           // meters of a third area; default 30
	Slots   int           // of 15 minutes; default 96
	Loss    float64       // of frames on the power line; default 0.01
	Dead    float64       // share of the meters that are dead for a while; default 0.02
	DeadFor time.Duration // default 2h
	Baud    int           // of the lines to the CCOs; default 9600
	Kills   int           // of the agent; default 20
	Cut     time.Duration // of the link to the cloud, once; default 8h
	Calm    bool          // no policy is changed
}

const (
	period   = 15 * time.Minute  // of policies
	shorter  = 5 * time.Minute   // what it becomes for one area
	lead     = period / 2        // how long before the day the areas are there
	midCycle = 65 * time.Second  // after a slot: its cycle is under way
	tail     = 150 * time.Minute // after the day, in which is filled in what is missing
)

// dawn is when the day begins.
var dawn = time.Date(2026, 6, 29, 0, 0, 0, 0, time.UTC)

func (c Config) withDefaults() Config {
	set(&c.Meters, 300)
	set(&c.Changed, 60)
	set(&c.Beside, 30)
	set(&c.Slots, 96)
	set(&c.Loss, 0.01)
	set(&c.Dead, 0.02)
	set(&c.DeadFor, 2*time.Hour)
	set(&c.Baud, 9600)
	set(&c.Kills, 20)
	set(&c.Cut, 8*time.Hour)
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// at is when a slot is, counted from 0.
func at(slot int) time.Time { return dawn.Add(time.Duration(slot) * period) }
