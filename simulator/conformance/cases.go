package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// Cases returns the whole table, in the order of the contract's lines.
func Cases() []Case {
	return slices.Concat(requestCases, updateCases, invalidCases, deltaCases, lifeCases)
}

// create is how many a case begins.
const create = `{"state":{"desired":{"a":1},"reported":{"a":1}}}`

// requestCases are lines 1 to 5: names, limits and the envelope of requests.
var requestCases = []Case{
	{Line: "1 the longest names, with every character that is allowed", LongNames: true, Steps: []Step{
		{Body: `{"state":{"desired":{"a":1}}}`, Want: `{"state":{"desired":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":1,"timestamp":0}`},
		{Op: Get, Want: `{"state":{"desired":{"a":1},"delta":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":1,"timestamp":0}`},
		{Op: Delete, Want: `{"version":1,"timestamp":0}`},
		{Op: Get, Code: 404, Message: "No shadow exists with name: '{name}'"},
	}},
	{Line: "2 the state may be as large as the limit and no larger", Make: func(c Config) []Step {
		return []Step{
			{Body: desired(c.StateBytes)},
			{Body: desired(c.StateBytes + 1), Code: 413, Message: "The payload exceeds the maximum size allowed"},
			{Op: Get, Want: ``},
			{Body: `{"state":{"desired":{"a":"small again"}}}`, Want: `{"state":{"desired":{"a":"small again"}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":2,"timestamp":0}`},
		}
	}},
	{Line: "2 desired and reported count together, after the merge", Make: func(c Config) []Step {
		half := c.StateBytes / 2
		return []Step{
			{Body: desired(half)},
			{Body: strings.Replace(desired(half), "desired", "reported", 1)},
			{Body: strings.Replace(desired(half+1), "desired", "reported", 1), Code: 413, Message: "The payload exceeds the maximum size allowed"},
			{Body: `{"state":{"reported":{"b":1}},"clientToken":"t"}`, Code: 413, Message: "The payload exceeds the maximum size allowed", Token: "t"},
		}
	}},
	{Line: "2 white space, envelope and metadata don't count", Make: func(c Config) []Step {
		zeros := strings.TrimSuffix(strings.Repeat("0, ", c.StateBytes/2-10), ", ")
		return []Step{{Body: `{"ignored":"` + strings.Repeat("x", 100) + `","state":{"desired":{"a":[` + zeros + `]}}}`}}
	}},
	{Line: "3 as deep as the limit and no deeper; empty containers don't count", Unverified: true, Make: func(c Config) []Step {
		return []Step{
			{Body: nested(c.Depth, "1")},
			{Body: nested(c.Depth, "{}")},
			{Body: nested(c.Depth, "[]")},
			{Body: nested(c.Depth+1, "1"), Code: 400, Message: fmt.Sprintf("JSON contains too many levels of nesting; maximum is %d", c.Depth)},
			{Body: nested(c.Depth, "[1]"), Code: 400, Message: fmt.Sprintf("JSON contains too many levels of nesting; maximum is %d", c.Depth)},
			{Body: nested(c.Depth+50, "1"), Code: 400, Message: fmt.Sprintf("JSON contains too many levels of nesting; maximum is %d", c.Depth)},
		}
	}},
	{Line: "4 a client token of 64 bytes comes back, one of 65 is invalid", Steps: []Step{
		{Body: `{"state":{},"clientToken":"` + strings.Repeat("t", 64) + `"}`, Want: `{"state":{},"metadata":{},"version":1,"timestamp":0,"clientToken":"` + strings.Repeat("t", 64) + `"}`},
		{Body: `{"state":{},"clientToken":"` + strings.Repeat("t", 65) + `"}`, Code: 400, Message: "Invalid clientToken"},
		{Body: `{"state":{},"clientToken":"` + strings.Repeat("é", 33) + `"}`, Code: 400, Message: "Invalid clientToken"},
	}},
	{Line: "4 a client token is a string", Unverified: true, Steps: []Step{
		{Body: `{"state":{},"clientToken":7}`, Code: 400, Message: "Invalid clientToken"},
		{Body: `{"state":{},"clientToken":null}`, Want: `{"state":{},"metadata":{},"version":1,"timestamp":0}`},
	}},
	{Line: "4 a client token of a get or delete", OnMQTT: true, Steps: []Step{
		{Body: create},
		{Op: Get, Body: `{"clientToken":"` + strings.Repeat("t", 65) + `"}`, Code: 400, Message: "Invalid clientToken"},
		{Op: Delete, Body: `{"clientToken":"` + strings.Repeat("t", 65) + `"}`, Code: 400, Message: "Invalid clientToken"},
		{Op: Delete, Body: `{"clientToken":"t"}`, Want: `{"version":1,"timestamp":0,"clientToken":"t"}`},
		{Op: Delete, Body: `{"clientToken":"t"}`, Code: 404, Message: "No shadow exists with name: '{name}'", Token: "t"},
	}},
	{Line: "5 get and delete without a body", Steps: []Step{
		{Body: create},
		{Op: Get, Want: `{"state":{"desired":{"a":1},"reported":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}},"reported":{"a":{"timestamp":0}}},"version":1,"timestamp":0}`},
		{Op: Delete, Want: `{"version":1,"timestamp":0}`},
	}},
	{Line: "5 get with the bodies that SDKs send", OnMQTT: true, Steps: []Step{
		{Body: `{"state":{}}`},
		{Op: Get, Body: `{}`, Want: `{"state":{},"metadata":{},"version":1,"timestamp":0}`},
		{Op: Get, Body: `{"clientToken":"c-1"}`, Want: `{"state":{},"metadata":{},"version":1,"timestamp":0,"clientToken":"c-1"}`},
		{Op: Get, Body: `{"version":1,"clientToken":"c-2"}`, Want: `{"state":{},"metadata":{},"version":1,"timestamp":0,"clientToken":"c-2"}`},
		{Op: Get, Body: `no JSON`, Code: 400, Message: "Invalid JSON"},
	}},
	{Line: "5 a get's version is not looked at", OnMQTT: true, Unverified: true, Steps: []Step{
		{Body: `{"state":{}}`},
		{Op: Get, Body: `{"version":9}`, Want: `{"state":{},"metadata":{},"version":1,"timestamp":0}`},
	}},
	{Line: "5 delete with the bodies that SDKs send", OnMQTT: true, Steps: []Step{
		{Body: create},
		{Op: Delete, Body: `{"version":7,"clientToken":"c"}`, Code: 409, Message: "Version conflict", Token: "c"},
		{Op: Delete, Body: `{"version":1,"clientToken":"c"}`, Want: `{"version":1,"timestamp":0,"clientToken":"c"}`},
	}},
}

// desired returns an update whose desired section has the given size.
func desired(size int) string {
	return `{"state":{"desired":{"a":"` + strings.Repeat("x", size-len(`{"a":""}`)) + `"}}}`
}

// nested returns an update with levels of nesting below state, desired being the
// first, and core at the bottom.
func nested(levels int, core string) string {
	return `{"state":{"desired":` + strings.Repeat(`{"a":`, levels) + core + strings.Repeat(`}`, levels+1) + `}`
}
