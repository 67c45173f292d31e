package wire

import "strings"

// Op is what a request asks for.
type Op uint8

// The operations.
const (
	OpGet Op = iota + 1
	OpUpdate
	OpDelete
	OpSync // of a whole thing; on the classic shadow's path only
)

var opNames = [...]string{OpGet: "get", OpUpdate: "update", OpDelete: "delete", OpSync: "sync"}

func (o Op) String() string {
	if o < OpGet || o > OpSync {
		return "unknown"
	}
	return opNames[o]
}

// Topic is a shadow request topic taken apart.
type Topic struct {
	Thing  string
	Shadow string // "" is the classic shadow
	Op     Op
	Plain  bool // without the $aws/ prefix
}

const (
	awsPrefix   = "$aws/"
	thingsLevel = "things/"
)

// ParseTopic reads a request topic. Anything else, topics of answers and of
// invalid names included, is not ok.
func ParseTopic(topic string) (t Topic, ok bool) {
	t, leaf, ok := split(topic)
	if !ok {
		return Topic{}, false
	}
	switch leaf {
	case "get":
		t.Op = OpGet
	case "update":
		t.Op = OpUpdate
	case "delete":
		t.Op = OpDelete
	case "sync":
		t.Op = OpSync
		ok = t.Shadow == ""
	default:
		ok = false
	}
	if !ok {
		return Topic{}, false
	}
	return t, true
}

// Reserved tells whether only the service may publish to a topic unless
// ParseTopic knows it as a request, or ParseReadings as what nodes say: all below
// $aws/, the shadow topics without that prefix, and the topics of readings.
func Reserved(topic string) bool {
	if strings.HasPrefix(topic, awsPrefix) {
		return true
	}
	rest, ok := strings.CutPrefix(topic, thingsLevel)
	if !ok {
		return false
	}
	_, rest, ok = strings.Cut(rest, "/")
	level, _, _ := strings.Cut(rest, "/")
	return ok && (level == "shadow" || level == leafReadings || level == leafRead)
}

// split takes <prefix>/things/T/shadow[/name/N]/leaf apart.
func split(topic string) (t Topic, leaf string, ok bool) {
	rest, aws := strings.CutPrefix(topic, awsPrefix)
	t.Plain = !aws
	if rest, ok = strings.CutPrefix(rest, thingsLevel); !ok {
		return t, "", false
	}
	if t.Thing, rest, ok = strings.Cut(rest, "/"); !ok || !ValidThing(t.Thing) {
		return t, "", false
	}
	if rest, ok = strings.CutPrefix(rest, "shadow/"); !ok {
		return t, "", false
	}
	if named, isNamed := strings.CutPrefix(rest, "name/"); isNamed {
		if t.Shadow, rest, ok = strings.Cut(named, "/"); !ok || !ValidShadow(t.Shadow) {
			return t, "", false
		}
	}
	return t, rest, true
}

// ParseReply reads the topic of an answer or push: the shadow it is about and
// its leaf, such as "update/accepted", "update/delta", "desired".
func ParseReply(topic string) (t Topic, leaf string, ok bool) { return split(topic) }

func (t Topic) path(leaf string) string {
	prefix := awsPrefix
	if t.Plain {
		prefix = ""
	}
	if t.Shadow == "" {
		return prefix + thingsLevel + t.Thing + "/shadow/" + leaf
	}
	return prefix + thingsLevel + t.Thing + "/shadow/name/" + t.Shadow + "/" + leaf
}

// Request returns the topic of the request itself.
func (t Topic) Request() string { return t.path(t.Op.String()) }

// Accepted returns the topic on which the request is accepted.
func (t Topic) Accepted() string { return t.path(t.Op.String() + "/accepted") }

// Rejected returns the topic on which the request is rejected.
func (t Topic) Rejected() string { return t.path(t.Op.String() + "/rejected") }

// Delta returns the topic of the shadow's deltas.
func (t Topic) Delta() string { return t.path("update/delta") }

// Documents returns the topic of the shadow's previous and current documents.
func (t Topic) Documents() string { return t.path("update/documents") }

// Desired returns the topic of the shadow's desired pushes.
func (t Topic) Desired() string { return t.path("desired") }

// ValidThing tells whether name is a thing's name: 1 to 128 of [a-zA-Z0-9:_-].
func ValidThing(name string) bool { return validName(name, 128, false) }

// ValidShadow tells whether name is that of a named shadow: 1 to 64 of [$a-zA-Z0-9:_-].
func ValidShadow(name string) bool { return validName(name, 64, true) }

func validName(name string, most int, dollar bool) bool {
	if name == "" || len(name) > most {
		return false
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == ':' || c == '_' || c == '-' || dollar && c == '$'
		if !ok {
			return false
		}
	}
	return true
}
