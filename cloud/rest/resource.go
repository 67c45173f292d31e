package rest

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
)

// Resource is a node, an application or a policy. It is what `gnomon get -o
// yaml` prints and, all but kind, node, name and desired ignored, what `gnomon
// apply` takes.
type Resource struct {
	Kind           schema.Kind   `json:"kind" enum:"node,application,policy"`
	Node           string        `json:"node,omitempty" doc:"the node an application or policy is on"`
	Name           string        `json:"name"`
	Version        uint64        `json:"version"`
	DesiredVersion uint64        `json:"desiredVersion" doc:"the version at which desired last changed"`
	Timestamp      int64         `json:"timestamp" doc:"second since 1970 of the last change"`
	Desired        any           `json:"desired,omitempty"`
	Reported       any           `json:"reported,omitempty"`
	Delta          any           `json:"delta,omitempty" doc:"what desired has and reported lacks or differs in"`
	Status         schema.Status `json:"status"`
}

func resourceOf(key store.Key, d *shadow.Document) *Resource {
	kind, name := schema.KindOf(key.Shadow)
	r := &Resource{
		Kind: kind, Node: key.Thing, Name: name,
		Version: d.Version, DesiredVersion: d.DesiredVersion, Timestamp: d.Timestamp,
		Status: schema.StatusOf(key.Shadow, d),
	}
	if kind == schema.KindNode {
		r.Node, r.Name = "", key.Thing
	}
	r.Desired, r.Reported, r.Delta = present(d.Desired), present(d.Reported), present(d.Delta())
	return r
}

// present keeps an absent section from being written as null.
func present(v *shadow.Value) any {
	if v == nil {
		return nil
	}
	return v
}

// etag is the version as an entity tag.
func etag(version uint64) string { return `"v` + strconv.FormatUint(version, 10) + `"` }

// parseETag reads If-Match; "" means any version, nil.
func parseETag(s string) (*uint64, error) {
	if s == "" || s == "*" {
		return nil, nil
	}
	digits, ok := strings.CutPrefix(strings.Trim(s, `"`), "v")
	n, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil {
		return nil, newProblem(400, fmt.Sprintf(`If-Match is %s; it must be an ETag as given, such as "v7"`, s))
	}
	return &n, nil
}

// continueToken hides where a list goes on, so that it can change.
func continueToken(after string) string {
	if after == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(after))
}

func parseContinue(token string) (string, error) {
	after, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", newProblem(400, "continue is not a token from an earlier list")
	}
	return string(after), nil
}
