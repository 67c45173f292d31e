package snmp

import (
	"fmt"
	"strconv"

	"github.com/gosnmp/gosnmp"

	"gnomon/edge/collect"
	"gnomon/schema"
	"gnomon/shadow"
)

// decode makes an item's value of what an agent has answered.
func decode(v gosnmp.SnmpPDU, it schema.Item) (*shadow.Value, error) {
	switch v.Type {
	case gosnmp.NoSuchObject, gosnmp.NoSuchInstance, gosnmp.EndOfMibView:
		return nil, fmt.Errorf("%w: no such object", collect.ErrException)
	case gosnmp.Null:
		return nil, collect.ErrNoValue
	}
	if it.Type == "bool" {
		return truth(v)
	}
	switch n := v.Value.(type) {
	case int:
		return collect.Whole(int64(n), it)
	case uint:
		return collect.Whole(uint64(n), it)
	case uint32:
		return collect.Whole(uint64(n), it)
	case uint64:
		return collect.Whole(n, it)
	case float32:
		// The float64 that is written with the fewest digits that tell n from its neighbours.
		return collect.Digits(strconv.FormatFloat(float64(n), 'g', -1, 32), it)
	case float64:
		return collect.Real(n, it)
	case []byte:
		return collect.Digits(string(n), it) // many agents have numbers as text
	case nil:
		return nil, fmt.Errorf("%w: a value that could not be decoded", collect.ErrGarbled)
	}
	return nil, fmt.Errorf("%w: %v", collect.ErrNotNumber, v.Type)
}

// truth takes a TruthValue (RFC 2579): 1 is true, 2 is false.
func truth(v gosnmp.SnmpPDU) (*shadow.Value, error) {
	switch v.Value {
	case 1:
		return shadow.Flag(true), nil
	case 2:
		return shadow.Flag(false), nil
	case true, false:
		return shadow.Flag(v.Value == true), nil
	}
	return nil, fmt.Errorf("%w: no TruthValue: %v", collect.ErrNotNumber, v.Type)
}
