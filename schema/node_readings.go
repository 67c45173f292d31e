package schema

// NodeReadings sets how readings go upward.
type NodeReadings struct {
	BytesPerSecond int `json:"bytesPerSecond"` // most that go out on average, MinReadingsRate or more; default 0: what gnomon-edge run says
}

// Limits of NodeReadings.
const (
	MinReadingsRate = 100
	MaxReadingsRate = 1 << 30
)

func (r *NodeReadings) check(c *check) {
	if r.BytesPerSecond != 0 {
		within(c, "node.readings.bytesPerSecond", r.BytesPerSecond, MinReadingsRate, MaxReadingsRate)
	}
}
