package wire

// form is one production of the standard's notation.
type form struct {
	kind   Kind
	fields []field // of a sequence; of a data type that is made of others
	alts   []field // of a choice: by tag
	elem   *form   // of a list or an optional
	size   int     // of fixed octets
}

// field is a form with its name in a sequence, or its tag and name in a choice.
type field struct {
	tag  byte
	name string
	form *form
}

func f(name string, of *form) field             { return field{name: name, form: of} }
func alt(tag byte, name string, of *form) field { return field{tag, name, of} }
func sequence(fields ...field) *form            { return &form{kind: KindSequence, fields: fields} }
func made(kind Kind, fields ...field) *form     { return &form{kind: kind, fields: fields} }
func choice(alts ...field) *form                { return &form{kind: KindChoice, alts: alts} }
func chosen(kind Kind, alts ...field) *form     { return &form{kind: kind, alts: alts} }
func list(elem *form) *form                     { return &form{kind: KindList, elem: elem} }
func optional(elem *form) *form                 { return &form{kind: KindOptional, elem: elem} }
func octets(n int) *form                        { return &form{kind: KindFixed, size: n} }
func scalar(kind Kind) *form                    { return &form{kind: kind} }

var (
	null, boolean    = scalar(Null), scalar(Bool)
	u8, u16, u32, i8 = scalar(Unsigned), scalar(LongUnsigned), scalar(DoubleLongUnsigned), scalar(Integer)
	enum             = scalar(Enum)
	octetString      = scalar(OctetString)
	dateTime         = scalar(DateTime)
	dateTimeS        = scalar(DateTimeS)
	oad, omd, tsa    = scalar(OAD), scalar(OMD), scalar(TSA)
	mac, rn          = scalar(MAC), scalar(RN)
	piid, dar        = scalar(KindPIID), scalar(KindDAR)
	data             = scalar(kindData)
	row              = scalar(KindRow)

	ti     = made(TI, f("unit", enum), f("interval", u16))
	road   = made(ROAD, f("oad", oad), f("related", list(oad)))
	region = made(Region, f("bounds", enum), f("begin", data), f("end", data))
	scaler = made(ScalerUnit, f("exponent", i8), f("unit", enum))
	sid    = made(SID, f("id", u32), f("attachment", octetString))
	sidMAC = made(SIDMAC, f("sid", sid), f("mac", mac))
	comdcb = made(COMDCB, f("baud", enum), f("parity", enum), f("dataBits", enum), f("stopBits", enum), f("flowControl", enum))
	csd    = chosen(CSD, alt(0, "oad", oad), alt(1, "road", road))
	rcsd   = &form{kind: RCSD, elem: csd}
	ms     = chosen(MS,
		alt(0, "none", null), alt(1, "all", null), alt(2, "userTypes", list(u8)), alt(3, "addresses", list(tsa)),
		alt(4, "numbers", list(u16)), alt(5, "userTypeRanges", list(region)), alt(6, "addressRanges", list(region)),
		alt(7, "numberRanges", list(region)))
	byRange = sequence(f("oad", oad), f("begin", data), f("end", data), f("interval", data))
	atTime  = sequence(f("at", dateTimeS), f("meters", ms))
	inTime  = sequence(f("begin", dateTimeS), f("end", dateTimeS), f("interval", ti), f("meters", ms))
	rsd     = chosen(RSD,
		alt(0, "none", null), alt(1, "point", sequence(f("oad", oad), f("value", data))), alt(2, "range", byRange),
		alt(3, "ranges", list(byRange)), alt(4, "startedAt", atTime), alt(5, "storedAt", atTime), alt(6, "startedWithin", inTime),
		alt(7, "storedWithin", inTime), alt(8, "succeededWithin", inTime), alt(9, "nthLast", u8),
		alt(10, "lastOfMeters", sequence(f("count", u8), f("meters", ms))))
)

// dataForms are the data types by tag.
var dataForms = func() (table [97]*form) {
	for _, k := range []Kind{
		Null, Bool, BitString, DoubleLong, DoubleLongUnsigned, OctetString, VisibleString, UTF8String, Integer, Long, Unsigned,
		LongUnsigned, Long64, Long64Unsigned, Enum, Float32, Float64, DateTime, Date, Time, DateTimeS, OI, OAD, OMD, TSA, MAC, RN,
	} {
		table[k] = scalar(k)
	}
	for _, f := range []*form{
		{kind: Array, elem: data}, {kind: Structure, elem: data}, ti, road, region, scaler, sid, sidMAC, comdcb, csd, rcsd, ms, rsd,
	} {
		table[f.kind] = f
	}
	return table
}()
