package collect

import (
	"time"

	"gnomon/schema/reading"
)

// Store keeps what is read, until the cloud has it and for some days after.
type Store interface {
	// Put keeps rows of a policy; they are on disk when it returns. A value that
	// is there already stays as it is; a missing one is replaced by a good one.
	Put(rows Rows) error

	// Gaps lists what is not there of what is wanted, oldest first, at most
	// w.Limit. Rows older than what is kept are not gaps, nor are values that are
	// missing for NoData: that is final.
	Gaps(w Want) ([]Gap, error)
}

// Rows are some of one policy; Row.Values are in the order of Items.
type Rows struct {
	Policy  string
	Version uint64 // of the policy's shadow
	Items   []string
	Rows    []reading.Row
}

// Want is what a policy should have read.
type Want struct {
	Policy string
	Meters map[string][]string // items by meter
	Slots  []time.Time         // ascending
	Limit  int
}

// Gap is a row that lacks values.
type Gap struct {
	Meter string
	At    time.Time
	Items []string // the missing ones
	Tried int      // how often they were asked for in vain
}
