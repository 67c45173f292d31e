package wire

import (
	"strconv"

	"gnomon/shadow"
)

// AppendGet appends a shadow as get/accepted and HTTP GET give it: the sections
// that are there, the delta when it isn't empty, their metadata, the version.
func AppendGet(dst []byte, d *shadow.Document, now int64, token string) []byte {
	dst = append(dst, `{"state":{`...)
	dst = appendMember(dst, "desired", d.Desired, false)
	dst = appendMember(dst, "reported", d.Reported, false)
	dst = appendMember(dst, "delta", d.Delta(), false)
	dst = append(dst, `},"metadata":{`...)
	dst = appendMember(dst, "desired", d.Desired, true)
	dst = appendMember(dst, "reported", d.Reported, true)
	dst = append(dst, '}')
	return appendTail(dst, d.Version, now, token)
}

// appendMember appends a section, or its metadata, unless it is absent.
func appendMember(dst []byte, key string, v *shadow.Value, metadata bool) []byte {
	if v == nil {
		return dst
	}
	dst = appendKey(dst, key)
	if metadata {
		return v.AppendMetadata(dst)
	}
	return v.AppendJSON(dst)
}

// appendKey begins a member of an object that may already have some.
func appendKey(dst []byte, key string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(shadow.AppendString(dst, key), ':')
}

// appendTail closes an answer with version, timestamp and, when there is one,
// the client token.
func appendTail(dst []byte, version uint64, timestamp int64, token string) []byte {
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendUint(dst, version, 10)
	dst = append(dst, `,"timestamp":`...)
	dst = strconv.AppendInt(dst, timestamp, 10)
	return appendToken(dst, token)
}

func appendToken(dst []byte, token string) []byte {
	if token != "" {
		dst = append(dst, `,"clientToken":`...)
		dst = shadow.AppendString(dst, token)
	}
	return append(dst, '}')
}

// AppendAccepted appends the answer to an accepted update: what was asked for,
// nulls included, each leaf with the update's timestamp, and the new version.
func AppendAccepted(dst []byte, u *shadow.Update, d *shadow.Document) []byte {
	if u.StateNull {
		dst = append(dst, `{"state":null,"metadata":{"timestamp":`...)
		dst = strconv.AppendInt(dst, d.Timestamp, 10)
		dst = append(dst, '}')
		return appendTail(dst, d.Version, d.Timestamp, u.ClientToken)
	}
	dst = append(dst, `{"state":{`...)
	if u.Desired.Present {
		dst = u.Desired.Patch.AppendJSON(appendKey(dst, "desired"))
	}
	if u.Reported.Present {
		dst = u.Reported.Patch.AppendJSON(appendKey(dst, "reported"))
	}
	dst = append(dst, `},"metadata":{`...)
	if u.Desired.Present {
		dst = u.Desired.Patch.AppendMetadataAt(appendKey(dst, "desired"), d.Timestamp)
	}
	if u.Reported.Present {
		dst = u.Reported.Patch.AppendMetadataAt(appendKey(dst, "reported"), d.Timestamp)
	}
	dst = append(dst, '}')
	return appendTail(dst, d.Version, d.Timestamp, u.ClientToken)
}

// AppendDelta appends an update/delta message.
func AppendDelta(dst []byte, d *shadow.Document, delta *shadow.Value, token string) []byte {
	dst = append(dst, `{"version":`...)
	dst = strconv.AppendUint(dst, d.Version, 10)
	dst = append(dst, `,"timestamp":`...)
	dst = strconv.AppendInt(dst, d.Timestamp, 10)
	dst = append(dst, `,"state":`...)
	dst = delta.AppendJSON(dst)
	dst = append(dst, `,"metadata":`...)
	return appendToken(delta.AppendMetadata(dst), token)
}

// AppendDocuments appends an update/documents message. Without a previous
// document there is no previous.
func AppendDocuments(dst []byte, previous, current *shadow.Document, token string) []byte {
	dst = append(dst, '{')
	if previous.Exists() {
		dst = append(appendDocument(append(dst, `"previous":`...), previous), ',')
	}
	dst = appendDocument(append(dst, `"current":`...), current)
	dst = append(dst, `,"timestamp":`...)
	dst = strconv.AppendInt(dst, current.Timestamp, 10)
	return appendToken(dst, token)
}

func appendDocument(dst []byte, d *shadow.Document) []byte {
	dst = append(dst, `{"state":{`...)
	dst = appendMember(dst, "desired", d.Desired, false)
	dst = appendMember(dst, "reported", d.Reported, false)
	dst = append(dst, `},"metadata":{`...)
	dst = appendMember(dst, "desired", d.Desired, true)
	dst = appendMember(dst, "reported", d.Reported, true)
	dst = append(dst, `},"version":`...)
	return append(strconv.AppendUint(dst, d.Version, 10), '}')
}

// AppendDeleted appends the answer to a delete, which names the version that
// was deleted: one below the tombstone's.
func AppendDeleted(dst []byte, tombstone *shadow.Document, token string) []byte {
	dst = append(dst, `{"version":`...)
	dst = strconv.AppendUint(dst, tombstone.Version-1, 10)
	dst = append(dst, `,"timestamp":`...)
	dst = strconv.AppendInt(dst, tombstone.Timestamp, 10)
	return appendToken(dst, token)
}
