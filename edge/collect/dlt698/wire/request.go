package wire

import "encoding/binary"

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

// AppendGetNext encodes the request for what follows the part received.
func AppendGetNext(dst []byte, piid byte, received uint16) []byte {
	dst = append(dst, GetRequest, GetNext, piid)
	return append(binary.BigEndian.AppendUint16(dst, received), 0)
}
