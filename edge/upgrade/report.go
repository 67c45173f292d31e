package upgrade

import (
	"strings"
	"time"

	"gnomon/shadow"
)

// maxMessage bounds a message in a report, in bytes.
const maxMessage = 600

// Report returns what the node reports of its agent, in the form in which it is
// desired, and of its upgrade, nil if there was none.
func (u *Upgrade) Report() (agent, upgrade *shadow.Value) {
	s := u.Status()
	a, _ := u.want()
	version := u.cfg.Version
	if s.Phase == Trial { // not the node's yet
		version = s.From
	}
	members := []shadow.Member{{Key: "version", Value: shadow.Text(version)}}
	if a != nil && s.Phase != Trial && u.satisfied(a) {
		members = append(members, shadow.Member{Key: "component", Value: shadow.Text(a.Component)})
		if a.Digest != "" {
			members = append(members, shadow.Member{Key: "digest", Value: shadow.Text(a.Digest)})
		}
		if a.Downgrade {
			members = append(members, shadow.Member{Key: "downgrade", Value: shadow.Flag(true)})
		}
	} else if m := u.manifest(); m.Component != "" && m.Version == version {
		members = append(members, shadow.Member{Key: "component", Value: shadow.Text(m.Component)})
	}
	return shadow.NewObject(members...), s.value()
}

func (s Status) value() *shadow.Value {
	if s.Phase == "" {
		return nil
	}
	members := []shadow.Member{
		{Key: "phase", Value: shadow.Text(string(s.Phase))},
		{Key: "from", Value: shadow.Text(s.From)},
		{Key: "to", Value: shadow.Text(s.To)},
		{Key: "waiting", Value: shadow.Texts(s.Waiting)},
	}
	if f := s.Error; f != nil {
		message := f.Message
		if len(message) > maxMessage {
			message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
		}
		members = append(members, shadow.Member{Key: "error", Value: shadow.NewObject(
			shadow.Member{Key: "code", Value: shadow.Text(f.Code)},
			shadow.Member{Key: "message", Value: shadow.Text(message)},
			shadow.Member{Key: "retryable", Value: shadow.Flag(f.Retryable)},
			shadow.Member{Key: "at", Value: shadow.Text(f.At.UTC().Format(time.RFC3339))},
		)})
	}
	return shadow.NewObject(members...)
}
