package schema

import (
	"regexp"
	"strings"
	"time"
)

// Limits of reading what is published over MQTT.
const (
	MaxTopicBytes   = 512
	MaxPathBytes    = 256
	MaxPolicyTopics = 2000 // that one policy listens to
	minAge          = time.Second
	maxAge          = 7 * 24 * time.Hour
)

// AddressInTopic stands for the meter's address in the topic of an item.
const AddressInTopic = "{address}"

// TopicOf is what a meter publishes an item on.
func (it *Item) TopicOf(m Meter) string {
	return strings.ReplaceAll(it.Topic, AddressInTopic, m.Address)
}

func (m *Meter) validateMQTT(c *check, at string, p *Policy) {
	c.need(m.Unit == 0, at+".unit", "is for Modbus", m.Unit)
	c.need(m.Address == "" || isTopic(m.Address), at+".address", "must be part of a topic: no + and #", m.Address)
	items := p.ItemsOf(*m)
	for _, it := range items {
		if strings.Contains(it.Topic, AddressInTopic) {
			c.need(m.Address != "", at+".address", "is needed: the topic of "+it.Name+" has {address} in it", nil)
		} else {
			c.need(len(p.Meters) == 1, at, "would have the values of others: the topic of "+it.Name+" needs {address} where there are several meters", it.Topic)
		}
		c.need(len(it.TopicOf(*m)) <= MaxTopicBytes, at+".address", "makes the topic of "+it.Name+" too long", m.Address)
	}
	if n := len(items) * len(p.Meters); n > MaxPolicyTopics && at == index("meters", 0) {
		c.add("meters", "have too many items together", n, MaxPolicyTopics)
	}
}

// modifier is what a path has that computes rather than points.
var modifier = regexp.MustCompile(`(^|[.|{\[,:])[@!]`)

func (it *Item) validateMQTT(c *check, at string) {
	c.need(it.Type == "" || it.Type == "bool", at+".type", "must be bool, for on and off, or left out: values say themselves what they are", it.Type)
	c.need(it.Topic != "" && isTopic(it.Topic), at+".topic", "must be a topic without wildcards, of 1 to 512 bytes", it.Topic)
	c.need(len(it.Path) <= MaxPathBytes && !modifier.MatchString(it.Path), at+".path", "must point into JSON, such as energy.total, in at most 256 bytes and without modifiers", it.Path)
}

func isTopic(s string) bool {
	return len(s) <= MaxTopicBytes && !strings.ContainsAny(s, "+#\x00") && !strings.HasPrefix(s, "$share/") && strings.ToValidUTF8(s, "") == s
}
