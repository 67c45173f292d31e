package wire

import (
	"encoding/binary"
	"time"
)

// ObjectAttribute is an OAD: object, attribute and element in one number, as it
// is written: 40010200.
type ObjectAttribute uint32

// ServiceNumbers is how many service numbers there are; a PIID of a request is
// one of them.
const ServiceNumbers = 64

func appendOADs(dst []byte, oads []ObjectAttribute, before ...byte) []byte {
	dst = appendLength(dst, len(oads), 0)
	for _, o := range oads {
		dst = append(dst, before...)
		dst = binary.BigEndian.AppendUint32(dst, uint32(o))
	}
	return dst
}

// AppendGet encodes a request for attributes: as a list if there are several.
func AppendGet(dst []byte, piid byte, oads ...ObjectAttribute) []byte {
	if len(oads) == 1 {
		dst = append(dst, GetRequest, GetNormal, piid)
		dst = binary.BigEndian.AppendUint32(dst, uint32(oads[0]))
		return append(dst, 0)
	}
	dst = append(dst, GetRequest, GetNormalList, piid)
	return append(appendOADs(dst, oads), 0)
}

// AppendGetRecord encodes a request for columns of the nth last record of an
// object; 1 is the latest.
func AppendGetRecord(dst []byte, piid byte, of ObjectAttribute, nth byte, columns []ObjectAttribute) []byte {
	dst = append(dst, GetRequest, GetRecord, piid)
	dst = binary.BigEndian.AppendUint32(dst, uint32(of))
	dst = append(dst, 9, nth)
	return append(appendOADs(dst, columns, 0), 0)
}

// RecordTime is the column of records that says when they are of.
const RecordTime ObjectAttribute = 0x20210200

// appendMoment appends a date_time_s with its type.
func appendMoment(dst []byte, t time.Time) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, byte(DateTimeS)), uint16(t.Year()))
	return append(dst, byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second()))
}

// AppendGetRecordAt encodes a request for columns of the record of a time, by the
// meter's clock.
func AppendGetRecordAt(dst []byte, piid byte, of ObjectAttribute, at time.Time, columns []ObjectAttribute) []byte {
	const point = 1
	dst = append(dst, GetRequest, GetRecord, piid)
	dst = binary.BigEndian.AppendUint32(dst, uint32(of))
	dst = binary.BigEndian.AppendUint32(append(dst, point), uint32(RecordTime))
	dst = appendMoment(dst, at)
	return append(appendOADs(dst, columns, 0), 0)
}

// AppendGetRecords encodes a request for columns of the records from one time
// until before another, so many minutes apart.
func AppendGetRecords(dst []byte, piid byte, of ObjectAttribute, from, before time.Time, minutes uint16, columns []ObjectAttribute) []byte {
	const interval, unitMinute = 2, 1
	dst = append(dst, GetRequest, GetRecord, piid)
	dst = binary.BigEndian.AppendUint32(dst, uint32(of))
	dst = binary.BigEndian.AppendUint32(append(dst, interval), uint32(RecordTime))
	dst = appendMoment(appendMoment(dst, from), before)
	dst = binary.BigEndian.AppendUint16(append(dst, byte(TI), unitMinute), minutes)
	return append(appendOADs(dst, columns, 0), 0)
}

// AppendGetNext encodes the request for what follows the part received.
func AppendGetNext(dst []byte, piid byte, received uint16) []byte {
	dst = append(dst, GetRequest, GetNext, piid)
	return append(binary.BigEndian.AppendUint16(dst, received), 0)
}
