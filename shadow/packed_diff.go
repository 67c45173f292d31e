package shadow

// diffPacked is Diff of packed Objects.
func diffPacked(desired, reported *Value) *Value {
	d := cursor{rest: desired.text, at: desired.base()}
	r := cursor{rest: reported.text, at: reported.base()}
	return d.diffMembers(&r)
}

// diffMembers is Diff of the Objects whose members two cursors are at; it goes
// past both.
func (c *cursor) diffMembers(r *cursor) *Value {
	var out []Member
	left, others := c.uvarint(), r.uvarint()
	var other string // the reported key at hand, whose value comes next
	there := false
	step := func() {
		if there = others > 0; there {
			others--
			other = r.text()
		}
	}
	step()
	for ; left > 0; left-- {
		key := c.text()
		for there && other < key {
			r.skip()
			step()
		}
		var v *Value
		if there && other == key {
			v = c.diff(r)
			step()
		} else {
			v = c.value()
		}
		if v != nil {
			out = append(out, Member{key, v})
		}
	}
	for there {
		r.skip()
		step()
	}
	if out == nil {
		return nil
	}
	return newValue(Object, 0, "", out)
}

// diff is Diff of the values that two cursors are at; it goes past both.
func (c *cursor) diff(r *cursor) *Value {
	if Kind(c.rest[0]) == Object && Kind(r.rest[0]) == Object {
		c.kind()
		r.kind()
		return c.diffMembers(r)
	}
	begin, beginOther := *c, *r
	if c.same(r) {
		return nil
	}
	*c, *r = begin, beginOther
	r.skip()
	return c.value()
}

// same is Equal of the values that two cursors are at. It goes past both if they
// are.
func (c *cursor) same(r *cursor) bool {
	k := c.kind()
	if r.kind() != k {
		return false
	}
	if k != Object {
		c.varint()
		r.varint()
	}
	switch k {
	case Bool:
		return c.flag() == r.flag()
	case Number:
		return sameNumber(c.text(), r.text())
	case Array, Object:
	default:
		return c.text() == r.text()
	}
	left := c.uvarint()
	if r.uvarint() != left {
		return false
	}
	for ; left > 0; left-- {
		if k == Object && c.text() != r.text() {
			return false
		}
		if !c.same(r) {
			return false
		}
	}
	return true
}
