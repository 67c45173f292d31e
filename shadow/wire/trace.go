package wire

// TraceProperty is the name of the MQTT user property, and of the HTTP header,
// that carry a W3C Trace Context.
const TraceProperty = "traceparent"

// parentLength is that of a traceparent of version 00.
const parentLength = 2 + 1 + traceLength + 1 + spanLength + 1 + 2

const traceLength, spanLength = 32, 16

// TraceID returns the trace id within a traceparent (W3C Trace Context 3.2):
// version, 32 and 16 hexadecimal digits, flags, in lower case. Of later versions,
// which may be longer, the same parts are read.
func TraceID(parent string) (id string, ok bool) {
	switch {
	case len(parent) < parentLength, !hexadecimal(parent[:2]), parent[:2] == "ff",
		parent[2] != '-', parent[35] != '-', parent[52] != '-',
		!hexadecimal(parent[53:parentLength]),
		len(parent) > parentLength && (parent[:2] == "00" || parent[parentLength] != '-' || len(parent) > maxParent):
		return "", false
	}
	id = parent[3 : 3+traceLength]
	return id, ValidTrace(id) && hexadecimal(parent[36:36+spanLength]) && !zeros(parent[36:36+spanLength])
}

// maxParent bounds a traceparent of a later version.
const maxParent = 128

// ValidTrace tells whether id is a trace id.
func ValidTrace(id string) bool { return len(id) == traceLength && hexadecimal(id) && !zeros(id) }

func hexadecimal(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func zeros(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != '0' {
			return false
		}
	}
	return true
}
