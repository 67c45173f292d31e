package schema

import (
	"maps"
	"math"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParsePolicy decodes, completes and validates the desired section of a
// collection policy. The error is an *Error.
func ParsePolicy(desired []byte) (*Policy, error) {
	p := new(Policy)
	if err := decode(KindPolicy, desired, p); err != nil {
		return nil, err
	}
	c := &check{kind: KindPolicy}
	p.defaults()
	p.validate(c)
	if c.err() == nil {
		p.admit(c) // of what is right otherwise
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Policy) defaults() {
	setDefault(&p.Priority, 5)
	setDefault(&p.Period, Duration(15*time.Minute))
	p.collectDefaults()
	s := &p.Source
	if s.Kind.Protocol() == Q376 {
		p.q376Defaults()
	}
	setDefault(&s.Timeout, Duration(time.Second))
	setDefault(&s.Tries, 2)
	protocol, baud, parity := s.Kind.Protocol(), 9600, "N"
	switch protocol {
	case DLT645:
		baud, parity = 2400, "E"
		s.dlt645Defaults()
	case DLT698:
		parity = "E"
		s.dlt698Defaults()
	case Q376:
		parity = "E"
	case SNMP:
		s.snmpDefaults()
	case MQTT:
		setDefault(&s.MaxAge, max(3*p.Period, Duration(time.Minute)))
	default:
		s.modbusDefaults()
		for i := range p.Meters {
			setDefault(&p.Meters[i].Unit, 1)
		}
	}
	if sourceKinds[s.Kind].serial {
		setDefault(&s.Baud, baud)
		setDefault(&s.Data, 8)
		setDefault(&s.Parity, parity)
		setDefault(&s.Stop, 1)
	}
	for i := range p.Items {
		p.Items[i].defaults(protocol)
	}
	for i := range p.Writes {
		p.Writes[i].defaults()
	}
}

func (s *Source) modbusDefaults() {
	if s.MaxHole == nil {
		hole := 16
		s.MaxHole = &hole
	}
	setDefault(&s.Functions, ReadingFunctions)
}

func (it *Item) defaults(p Protocol) {
	setDefault(&it.Scale, 1)
	switch p {
	case DLT645, SNMP, MQTT:
		return
	case DLT698, Q376:
		if it.Record != "" {
			setDefault(&it.Nth, 1)
		}
		return
	}
	setDefault(&it.Function, 3)
	if it.Function <= 2 {
		setDefault(&it.Type, "bool")
	}
	setDefault(&it.Type, "uint16")
	setDefault(&it.Order, "ABCD")
}

func (p *Policy) validate(c *check) {
	within(c, "priority", p.Priority, 1, 9)
	within(c, "period", p.Period, Duration(100*time.Millisecond), Duration(24*time.Hour))
	within(c, "align", p.Align, 0, p.Period)
	p.Source.validate(c)
	p.validateCollect(c)
	p.validateMeters(c)
	if len(p.Items) > MaxItems {
		c.add("items", "too many items", len(p.Items), MaxItems)
	}
	for i := range p.Items {
		p.Items[i].validate(c, index("items", i), p.Source.Kind.Protocol())
	}
	if len(p.Windows) > MaxWindows {
		c.add("windows", "too many windows", len(p.Windows), MaxWindows)
	}
	for i, w := range p.Windows {
		_, _, err := w.Bounds()
		c.need(err == nil, index("windows", i), "must be HH:MM-HH:MM", w)
	}
	p.validateModbus(c)
}

func (p *Policy) validateMeters(c *check) {
	c.need(len(p.Meters) > 0, "meters", "at least one meter is needed", nil)
	if len(p.Meters) > MaxMeters {
		c.add("meters", "too many meters", len(p.Meters), MaxMeters)
		return
	}
	protocol := p.Source.Kind.Protocol()
	seen, addresses := map[string]bool{}, map[string]string{}
	for i, m := range p.Meters {
		at := index("meters", i)
		if other, taken := addresses[m.Address]; taken && protocol == Q376 {
			c.add(at+".address", "is that of "+other+", too: a CCO reads a meter once at a time", m.Address, nil)
		}
		addresses[m.Address] = m.ID
		c.need(validID(m.ID), at+".id", "must be 1 to 64 of letters, digits and ._-", m.ID)
		c.need(!seen[m.ID], at+".id", "is given twice", m.ID)
		seen[m.ID] = true
		p.validateAddress(c, at, m)
		if m.Model != "" {
			model, ok := ModelNamed(m.Model)
			speaks := protocol
			if protocol == Q376 {
				speaks = m.Protocol
			}
			c.need(ok && (model.Protocol == speaks || protocol == ""), at+".model", "is not known for this kind of source; known are "+strings.Join(modelsFor(speaks), ", "), m.Model)
		}
		p.validateItemNames(c, at, m)
	}
}

// validateAddress makes sure that a meter is named as its protocol does.
func (p *Policy) validateAddress(c *check, at string, m Meter) {
	if p.Source.Kind.Protocol() == Q376 {
		m.validateQ376(c, at)
		return
	}
	c.need(m.Protocol == "", at+".protocol", "is for q376", m.Protocol)
	switch p.Source.Kind.Protocol() {
	case SNMP:
		m.validateSNMP(c, at)
		return
	case MQTT:
		m.validateMQTT(c, at, p)
		return
	case DLT645:
		m.validateDLT645(c, at)
		return
	case DLT698:
		m.validateDLT698(c, at, len(p.Meters) == 1)
		return
	}
	lowest, highest := 1, 247
	if p.Source.Kind == SourceModbusTCP {
		lowest, highest = 0, 255
	}
	within(c, at+".unit", m.Unit, lowest, highest)
	c.need(m.Address == "", at+".address", "is not for Modbus; use unit", m.Address)
}

// validateItemNames makes sure that each value of a meter has a name of its own.
func (p *Policy) validateItemNames(c *check, at string, m Meter) {
	items := p.ItemsOf(m)
	c.need(len(items) > 0 || p.Collect == CollectFreeze, at, "has nothing to read: give it a model, or the policy items", m.ID)
	c.need(len(items) > 0 || p.Collect != CollectFreeze, at, "has nothing to read that meters of its protocol freeze", m.ID)
	seen := map[string]bool{}
	for _, it := range items {
		c.need(!seen[it.Name], at, "has two items of one name", it.Name)
		seen[it.Name] = true
	}
}

func (s *Source) validate(c *check) {
	kind, known := sourceKinds[s.Kind]
	switch {
	case !known:
		c.add("source.kind", "must be "+kindNames(), s.Kind, nil)
	case kind.protocol == SNMP:
		c.need(s.Address == "", "source.address", "is not for snmp: each meter has an address of its own", s.Address)
		c.need(s.Port == "", "source.port", "is for serial lines; give meters addresses", s.Port)
	case !kind.serial:
		_, port, err := net.SplitHostPort(s.Address)
		n, perr := strconv.Atoi(port)
		c.need(err == nil && perr == nil && n > 0 && n < 65536, "source.address", "must be host:port", s.Address)
		c.need(s.Port == "", "source.port", "is for serial lines; use address", s.Port)
	default:
		c.need(path.IsAbs(s.Port) && path.Clean(s.Port) == s.Port, "source.port", "must be the path of a serial device", s.Port)
		c.need(s.Address == "", "source.address", "is not for serial lines; use port", s.Address)
		within(c, "source.baud", s.Baud, 300, 4_000_000)
		within(c, "source.data", s.Data, 7, 8)
		within(c, "source.stop", s.Stop, 1, 2)
		c.need(s.Parity == "N" || s.Parity == "E" || s.Parity == "O", "source.parity", "must be N, E or O", s.Parity)
	}
	s.validateAgents(c, kind.protocol)
	if kind.protocol == Q376 {
		s.validateQ376(c)
		return
	}
	s.needsNoQ376(c)
	within(c, "source.timeout", s.Timeout, Duration(10*time.Millisecond), Duration(time.Minute))
	within(c, "source.pause", s.Pause, 0, Duration(time.Minute))
	within(c, "source.tries", s.Tries, 1, 10)
	c.need(kind.protocol == DLT698 || s.MaxFrame == 0, "source.maxFrame", "is for DL/T 698.45", s.MaxFrame)
	switch kind.protocol {
	case DLT645:
		s.validateDLT645(c)
		return
	case DLT698:
		s.validateDLT698(c)
		return
	case SNMP, MQTT:
		c.need(s.Pause == 0, "source.pause", "is not for snmp and mqtt: nobody shares a line", s.Pause)
		c.need(s.MaxHole == nil, "source.maxHole", "is for Modbus", nil)
		c.need(s.Preamble == nil, "source.preamble", "is for DL/T 645 and 698.45", nil)
		return
	}
	within(c, "source.maxHole", *s.MaxHole, 0, MaxRegistersHole)
	c.need(s.Preamble == nil, "source.preamble", "is for DL/T 645 and 698.45", nil)
}

// kindNames lists the kinds of source, as in a sentence.
func kindNames() string {
	names := slices.Sorted(maps.Keys(sourceKinds))
	text := make([]string, len(names))
	for i, n := range names {
		text[i] = string(n)
	}
	return strings.Join(text[:len(text)-1], ", ") + " or " + text[len(text)-1]
}

func (it *Item) validate(c *check, at string, p Protocol) {
	c.need(validID(it.Name), at+".name", "must be 1 to 64 of letters, digits and ._-", it.Name)
	c.need(!math.IsInf(it.Scale, 0) && !math.IsNaN(it.Scale), at+".scale", "must be a finite number", nil)
	it.onlyFor(c, at, p)
	if p == DLT698 || p == Q376 && it.OAD != "" {
		it.validateDLT698(c, at)
		return
	}
	it.needsNoDLT698(c, at)
	if p == SNMP || p == MQTT {
		it.validateNamed(c, at, p)
		return
	}
	if p == DLT645 || p == Q376 {
		it.validateDLT645(c, at)
		return
	}
	it.validateModbus(c, at)
}

func validID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, r := range s {
		ok := r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '.' || r == '_' || r == '-'
		if !ok {
			return false
		}
	}
	return true
}

// Bounds returns the window's start and end as offsets from midnight UTC.
func (w Window) Bounds() (start, end time.Duration, err error) {
	from, to, ok := strings.Cut(string(w), "-")
	if !ok {
		return 0, 0, strconv.ErrSyntax
	}
	if start, err = clock(from); err != nil {
		return 0, 0, err
	}
	end, err = clock(to)
	return start, end, err
}

// clock reads HH:MM, up to and with 24:00.
func clock(s string) (time.Duration, error) {
	hh, mm, ok := strings.Cut(s, ":")
	h, herr := strconv.Atoi(hh)
	m, merr := strconv.Atoi(mm)
	if !ok || herr != nil || merr != nil || h < 0 || m < 0 || m > 59 || h*60+m > 24*60 {
		return 0, strconv.ErrSyntax
	}
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute, nil
}
