package schema

// Keeps tells whether meters behind a kind of source keep what they measured, so
// that it can be read later.
func (k SourceKind) Keeps() bool {
	switch k.Protocol() {
	case DLT645, DLT698, Q376:
		return true
	}
	return false
}

// KeptOf returns the items of a meter that it keeps.
func (p *Policy) KeptOf(m Meter) []Item {
	if !p.Source.Kind.Keeps() {
		return nil
	}
	var kept []Item
	for _, it := range p.allOf(m) {
		if p.keeps(it) {
			kept = append(kept, it)
		}
	}
	return kept
}

func (p *Policy) keeps(it Item) bool {
	if it.OAD != "" {
		return it.Record == "" // every attribute may be a column of a freeze; what is one already has its time
	}
	if _, _, ok := it.DailyFreeze(); ok && p.Daily() {
		return true
	}
	_, _, ok := it.LoadRecord()
	return ok
}

// RecordClasses are the bytes of the values in each class of a load record of
// DL/T 645 (appendix B); records have the classes from 1 on.
var RecordClasses = [...]int{1: 17, 24, 8, 16, 16, 6}

// LoadRecord tells where in the load records of DL/T 645 an item is: in which
// class, and at which byte of that.
func (it *Item) LoadRecord() (class, at int, ok bool) {
	di := hex32(it.DI)
	part, size := int(di>>8&0xff), 0
	switch group, last := di>>16, di&0xff; {
	case it.DI == "" || it.Offset != 0:
	case group == 0x0201 && part >= 1 && part <= 3 && last == 0:
		class, at, size = 1, 2*(part-1), 2
	case group == 0x0202 && part >= 1 && part <= 3 && last == 0:
		class, at, size = 1, 6+3*(part-1), 3
	case di == 0x02800002:
		class, at, size = 1, 15, 2
	case group == 0x0203 && part <= 3 && last == 0:
		class, at, size = 2, 3*part, 3
	case group == 0x0204 && part <= 3 && last == 0:
		class, at, size = 2, 12+3*part, 3
	case group == 0x0206 && part <= 3 && last == 0:
		class, at, size = 3, 2*part, 2
	case group >= 1 && group <= 4 && di&0xffff == 0:
		class, at, size = 4, 4*int(group-1), 4
	case group >= 5 && group <= 8 && di&0xffff == 0:
		class, at, size = 5, 4*int(group-5), 4
	case di == 0x02800004, di == 0x02800005:
		class, at, size = 6, 3*int(di-0x02800004), 3
	}
	return class, at, size > 0 && it.bytes() == size
}

// DailyFreeze tells where in the daily freezes of DL/T 645 an item is: the
// identifier of the latest, and at which byte of its data.
func (it *Item) DailyFreeze() (di uint32, at int, ok bool) {
	n := hex32(it.DI)
	kind, tariff := n>>16, n>>8&0xff
	if it.DI == "" || it.Offset != 0 || kind < 1 || kind > 2 || tariff > 4 || n&0xff != 0 || it.bytes() != 4 {
		return 0, 0, false
	}
	return 0x05060001 | kind<<8, 4 * int(tariff), true
}

// bytes are how many a DL/T 645 item has.
func (it *Item) bytes() int {
	digits, _, _ := FormatDigits(it.Format)
	return digits / 2
}
