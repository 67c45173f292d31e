package wire

// Kind is what a node is. Those below KindSequence are data types, and their
// numbers are the tags they have on the wire.
type Kind byte

// The data types, and below them what the structure of APDUs is made of.
const (
	Null               Kind = 0
	Array              Kind = 1
	Structure          Kind = 2
	Bool               Kind = 3
	BitString          Kind = 4
	DoubleLong         Kind = 5
	DoubleLongUnsigned Kind = 6
	OctetString        Kind = 9
	VisibleString      Kind = 10
	UTF8String         Kind = 12
	Integer            Kind = 15
	Long               Kind = 16
	Unsigned           Kind = 17
	LongUnsigned       Kind = 18
	Long64             Kind = 20
	Long64Unsigned     Kind = 21
	Enum               Kind = 22
	Float32            Kind = 23
	Float64            Kind = 24
	DateTime           Kind = 25
	Date               Kind = 26
	Time               Kind = 27
	DateTimeS          Kind = 28
	OI                 Kind = 80
	OAD                Kind = 81
	ROAD               Kind = 82
	OMD                Kind = 83
	TI                 Kind = 84
	TSA                Kind = 85
	MAC                Kind = 86
	RN                 Kind = 87
	Region             Kind = 88
	ScalerUnit         Kind = 89
	RSD                Kind = 90
	CSD                Kind = 91
	MS                 Kind = 92
	SID                Kind = 93
	SIDMAC             Kind = 94
	COMDCB             Kind = 95
	RCSD               Kind = 96

	KindSequence Kind = 200 // its fields, one after the other
	KindList     Kind = 201 // a count, then so many of one kind
	KindChoice   Kind = 202 // a tag, then what it names
	KindOptional Kind = 203 // 0, or 1 and then the rest
	KindRow      Kind = 204 // the data of one record, one for each column
	KindFixed    Kind = 205 // octets, as many as always
	KindPIID     Kind = 206 // service number with priority, and ACD in answers
	KindDAR      Kind = 207 // data access result

	kindData Kind = 255 // any data type, by its tag; nodes have the type's own kind
)

// width returns how many bytes kinds of fixed size take, and 0 for the others.
func (k Kind) width() int {
	switch k {
	case Bool, Integer, Unsigned, Enum, KindPIID, KindDAR:
		return 1
	case Long, LongUnsigned, OI:
		return 2
	case DoubleLong, DoubleLongUnsigned, Float32, OAD, OMD:
		return 4
	case Long64, Long64Unsigned, Float64:
		return 8
	}
	return 0
}

// octets returns how many bytes times have.
func (k Kind) octets() int {
	switch k {
	case DateTime:
		return 10
	case Date:
		return 5
	case Time:
		return 3
	case DateTimeS:
		return 7
	}
	return 0
}

func (k Kind) signed() bool {
	return k == Integer || k == Long || k == DoubleLong || k == Long64
}

var kindNames = map[Kind]string{
	Null: "null", Array: "array", Structure: "structure", Bool: "bool", BitString: "bit-string",
	DoubleLong: "double-long", DoubleLongUnsigned: "double-long-unsigned", OctetString: "octet-string",
	VisibleString: "visible-string", UTF8String: "UTF8-string", Integer: "integer", Long: "long",
	Unsigned: "unsigned", LongUnsigned: "long-unsigned", Long64: "long64", Long64Unsigned: "long64-unsigned",
	Enum: "enum", Float32: "float32", Float64: "float64", DateTime: "date_time", Date: "date", Time: "time",
	DateTimeS: "date_time_s", OI: "OI", OAD: "OAD", ROAD: "ROAD", OMD: "OMD", TI: "TI", TSA: "TSA", MAC: "MAC",
	RN: "RN", Region: "Region", ScalerUnit: "Scaler_Unit", RSD: "RSD", CSD: "CSD", MS: "MS", SID: "SID",
	SIDMAC: "SID_MAC", COMDCB: "COMDCB", RCSD: "RCSD", KindSequence: "sequence", KindList: "list",
	KindChoice: "choice", KindOptional: "optional", KindRow: "row", KindFixed: "octets", KindPIID: "PIID", KindDAR: "DAR",
}

func (k Kind) String() string {
	if s, ok := kindNames[k]; ok {
		return s
	}
	return "unknown"
}
