package shadow

import "strconv"

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

// check refuses what ParseUpdate would, for updates that were not parsed, and
// what goes deeper than lim. Depth is looked at only in what the update brings:
// the rest passed when it came.
func (u *Update) check(lim Limits) error {
	if err := u.Desired.check(messageDesiredObject, lim); err != nil {
		return err
	}
	return u.Reported.check(messageReportedObject, lim)
}

func (s Section) check(notObject string, lim Limits) error {
	switch s.Patch.Kind() {
	case Null:
		return nil
	case Object:
	default:
		return &InvalidError{Message: notObject}
	}
	depth, nullInArray := s.Patch.measure(false)
	if nullInArray {
		return &InvalidError{Message: messageInvalidNode, Detail: "an array contains null"}
	}
	if depth > lim.Depth {
		return &LimitError{Field: "depth", Limit: lim.Depth, Got: depth}
	}
	return nil
}

// quote makes a name of any length fit for a message.
func quote(name string) string {
	const most = 64
	if len(name) > most {
		name = name[:most] + "…"
	}
	return strconv.Quote(name)
}

// measure returns the levels of nesting of v itself, 0 for leaves and empty
// containers, and whether a null lies in an array, or anywhere when inside one.
func (v *Value) measure(inArray bool) (depth int, nullInArray bool) {
	if v = v.tree(); len(v.members) == 0 {
		return 0, inArray && v.Kind() == Null
	}
	inArray = inArray || v.Kind() == Array
	for _, m := range v.members {
		if m.Value == nil {
			continue
		}
		below, null := m.Value.measure(inArray)
		depth, nullInArray = max(depth, below), nullInArray || null
	}
	return 1 + depth, nullInArray
}

// ParseUpdate reads the body of an update request. Members other than state,
// version, clientToken and origin are ignored, as the contract has it; within
// state only desired and reported may be. An array may not contain null, at any
// depth. Errors are *InvalidError and *LimitError.
func ParseUpdate(body []byte, lim Limits) (*Update, error) {
	root, err := parseBody(body, lim)
	if err != nil {
		return nil, err
	}
	u := new(Update)
	if err := u.readEnvelope(root); err != nil {
		return nil, err
	}
	if err := u.readOrigin(root.Get("origin")); err != nil {
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
			u.Desired = readSection(v)
		case "reported":
			u.Reported = readSection(v)
		default:
			return nil, &InvalidError{Message: messageInvalidNode, Detail: quote(key)}
		}
	}
	if err := u.check(lim.withDefaults()); err != nil {
		return nil, err
	}
	full := root.At("origin", "full")
	u.Reported.Replace = u.Reported.Patch != nil && full.Kind() == Bool && full.Text() == "true"
	return u, nil
}

// Request is what a get or delete request may carry.
type Request struct {
	Version     *uint64
	ClientToken string
}

// ParseRequest reads the body of a get or delete request, which may be empty.
// Members other than version and clientToken are ignored.
func ParseRequest(body []byte, lim Limits) (*Request, error) {
	if len(body) == 0 {
		return &Request{}, nil
	}
	root, err := parseBody(body, lim)
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
		n, ok := v.uint()
		if !ok {
			return &InvalidError{Message: messageInvalidVersion, Detail: "a whole number"}
		}
		u.Version = &n
	}
	if v := root.Get("clientToken"); v.Kind() != Null {
		if v.Kind() != String || len(v.Text()) > maxClientToken {
			return &InvalidError{Message: messageInvalidToken, Detail: "a string of at most 64 bytes"}
		}
		u.ClientToken = v.Text()
	}
	return nil
}

func (u *Update) readOrigin(v *Value) error {
	if v.Kind() == Null {
		return nil
	}
	epoch, ok1 := v.Get("bootEpoch").uint()
	seq, ok2 := v.Get("seq").uint()
	if !ok1 || !ok2 || epoch == 0 {
		return &InvalidError{Message: messageInvalidOrigin, Detail: "bootEpoch and seq must be whole numbers, bootEpoch from 1"}
	}
	u.Origin = Origin{BootEpoch: epoch, Seq: seq}
	return nil
}

func (v *Value) uint() (uint64, bool) {
	if v.Kind() != Number {
		return 0, false
	}
	n, err := strconv.ParseUint(v.text, 10, 64)
	return n, err == nil
}

// readSection leaves what is neither null nor an Object for check to refuse.
func readSection(v *Value) Section {
	if v.Kind() == Null {
		return Section{Present: true}
	}
	return Section{Present: true, Patch: v}
}

func parseBody(body []byte, lim Limits) (*Value, error) {
	root, err := parse(body, lim.withDefaults(), bodyLevels)
	if err == nil && root.Kind() != Object {
		err = &InvalidError{Message: messageInvalidJSON, Detail: "the body must be an object"}
	}
	return root, err
}
