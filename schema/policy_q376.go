package schema

import "time"

// Limits of reading through a CCO. The standard has codes for what is too much
// and no numbers: what a CCO denies, the master learns from it.
const (
	MaxParallel      = 64
	MaxFramesPerRead = 32

	defaultParallel      = 5
	defaultFramesPerRead = 13
	defaultTimeoutQ376   = 90 * time.Second
)

// What becomes of meters in a CCO's archive that no policy names.
const (
	ArchiveSync = "sync" // they are deleted
	ArchiveAdd  = "add"  // they stay
)

func (p *Policy) q376Defaults() {
	s := &p.Source
	setDefault(&s.Timeout, Duration(defaultTimeoutQ376))
	setDefault(&s.MaxFrame, defaultFrame698)
	setDefault(&s.Parallel, defaultParallel)
	setDefault(&s.FramesPerRead, defaultFramesPerRead)
	setDefault(&s.Archive, ArchiveSync)
	for i := range p.Meters {
		m := &p.Meters[i]
		if model, ok := ModelNamed(m.Model); ok && m.Protocol == "" {
			m.Protocol = model.Protocol
		}
		setDefault(&m.Protocol, DLT645)
	}
}

func (s *Source) validateQ376(c *check) {
	within(c, "source.timeout", s.Timeout, Duration(time.Second), Duration(5*time.Minute))
	within(c, "source.tries", s.Tries, 1, 10)
	within(c, "source.maxFrame", s.MaxFrame, MinFrame698, MaxFrame698)
	within(c, "source.parallel", s.Parallel, 1, MaxParallel)
	within(c, "source.framesPerRead", s.FramesPerRead, 1, MaxFramesPerRead)
	c.need(s.Archive == ArchiveSync || s.Archive == ArchiveAdd, "source.archive", "must be sync or add", s.Archive)
	c.need(s.Pause == 0, "source.pause", "is not for q376: the CCO paces its meters", s.Pause)
	c.need(s.MaxHole == nil, "source.maxHole", "is for Modbus", nil)
	c.need(s.Preamble == nil, "source.preamble", "is not for q376: the CCO's nodes add it", nil)
}

// needsNoQ376 refuses what is only for CCOs.
func (s *Source) needsNoQ376(c *check) {
	c.need(s.Parallel == 0 || s.Kind == SourceSNMP, "source.parallel", "is for q376 and snmp", s.Parallel)
	c.need(s.FramesPerRead == 0, "source.framesPerRead", "is for q376", s.FramesPerRead)
	c.need(s.Archive == "", "source.archive", "is for q376", s.Archive)
}

func (m *Meter) validateQ376(c *check, at string) {
	c.need(m.Protocol == DLT645 || m.Protocol == DLT698, at+".protocol", "must be dlt645 or dlt698", m.Protocol)
	m.validateDLT645(c, at) // a CCO knows meters by 12 digits, whatever they speak
}

// itemsFor returns the items that a protocol can read.
func itemsFor(p Protocol, all []Item) []Item {
	var some []Item
	for _, it := range all {
		if (it.OAD != "") == (p == DLT698) {
			some = append(some, it)
		}
	}
	return some
}
