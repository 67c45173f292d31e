package shadow

import (
	"strconv"
)

// Update is one request to change a document.
type Update struct {
	Desired, Reported Section
	StateNull         bool    // "state": null, which clears both sections
	Version           *uint64 // the version that must be current; nil = any
	ClientToken       string  // given back in every answer; "" = none
	Origin            Origin  // orders reports; zero = unordered
}

// Section is what an update does to desired or to reported.
type Section struct {
	Present bool   // false: nothing
	Patch   *Value // an Object to merge, with Nulls; nil removes the section
	Replace bool   // Patch is the whole new section, not a change to the old one
}

// The messages of the contract.
const (
	messageMissingState   = "Missing required node: state"
	messageStateObject    = "State node must be an object"
	messageDesiredObject  = "Desired node must be an object"
	messageReportedObject = "Reported node must be an object"
	messageInvalidNode    = "State contains an invalid node"
	messageInvalidVersion = "Invalid version"
	messageInvalidToken   = "Invalid clientToken"
	messageInvalidOrigin  = "Invalid origin"
)

// bodyLevels is how far state's sections lie below the body: body and state.
const bodyLevels = 2

// ParseUpdate reads the body of an update request. Members other than state,
// version, clientToken and origin are ignored, as the contract has it; within
// state only desired and reported may be. An array may not contain null, at any
// depth. Errors are *InvalidError and *LimitError.
func ParseUpdate(body []byte, lim Limits) (*Update, error) {
	root, err := parse(body, lim.withDefaults(), bodyLevels)
	if err != nil {
		return nil, err
	}
	if root.Kind() != Object {
		return nil, &InvalidError{Message: messageInvalidJSON, Detail: "the body must be an object"}
	}
	u := new(Update)
	if err := u.readEnvelope(root); err != nil {
		return nil, err
	}
	state := root.Get("state")
	switch {
	case state == nil:
		return nil, &InvalidError{Message: messageMissingState}
	case state.Kind() == Null:
		u.StateNull = true
		return u, nil
	case state.Kind() != Object:
		return nil, &InvalidError{Message: messageStateObject}
	}
	for key, v := range state.Members() {
		switch key {
		case "desired":
			u.Desired, err = readSection(v, messageDesiredObject)
		case "reported":
			u.Reported, err = readSection(v, messageReportedObject)
		default:
			err = &InvalidError{Message: messageInvalidNode, Detail: strconv.Quote(key)}
		}
		if err != nil {
			return nil, err
		}
	}
	u.Reported.Replace = u.Reported.Patch != nil && root.At("origin", "full").Text() == "true"
	return u, nil
}

// Request is what a get or delete request may carry.
type Request struct {
	Version     *uint64
	ClientToken string
}

// ParseRequest reads the body of a get or delete request, which may be empty.
func ParseRequest(body []byte, lim Limits) (*Request, error) {
	if len(body) == 0 {
		return &Request{}, nil
	}
	root, err := Parse(body, lim)
	if err != nil {
		return nil, err
	}
	u := new(Update)
	if err := u.readEnvelope(root); err != nil {
		return nil, err
	}
	return &Request{Version: u.Version, ClientToken: u.ClientToken}, nil
}

func (u *Update) readEnvelope(root *Value) error {
	if v := root.Get("version"); v.Kind() != Null {
		n, err := strconv.ParseUint(v.Text(), 10, 64)
		if err != nil || v.Kind() != Number {
			return &InvalidError{Message: messageInvalidVersion}
		}
		u.Version = &n
	}
	if v := root.Get("clientToken"); v.Kind() != Null {
		if v.Kind() != String || len(v.Text()) > maxClientToken {
			return &InvalidError{Message: messageInvalidToken, Detail: "a string of at most 64 bytes"}
		}
		u.ClientToken = v.Text()
	}
	if v := root.Get("origin"); v.Kind() != Null {
		epoch, err1 := strconv.ParseUint(v.Get("bootEpoch").Text(), 10, 64)
		seq, err2 := strconv.ParseUint(v.Get("seq").Text(), 10, 64)
		if err1 != nil || err2 != nil || epoch == 0 {
			return &InvalidError{Message: messageInvalidOrigin, Detail: "bootEpoch and seq must be numbers, bootEpoch from 1"}
		}
		u.Origin = Origin{BootEpoch: epoch, Seq: seq}
	}
	return nil
}

func readSection(v *Value, notObject string) (Section, error) {
	switch v.Kind() {
	case Null:
		return Section{Present: true}, nil
	case Object:
		if nullInArray(v, false) {
			return Section{}, &InvalidError{Message: messageInvalidNode, Detail: "an array contains null"}
		}
		return Section{Present: true, Patch: v}, nil
	default:
		return Section{}, &InvalidError{Message: notObject}
	}
}

func nullInArray(v *Value, inside bool) bool {
	if v.Kind() == Null {
		return inside
	}
	inside = inside || v.Kind() == Array
	for _, m := range v.members {
		if nullInArray(m.Value, inside) {
			return true
		}
	}
	return false
}
