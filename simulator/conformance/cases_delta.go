package conformance

// deltaCases are lines 6, 7, 16, 17, 18 and 19: what is published, and what get
// shows of it. Lines 6 and 7 are also checked after every step of every case.
var deltaCases = []Case{
	{Line: "6 a write publishes delta, documents and answer, whoever wrote", Steps: []Step{
		{Body: `{"state":{"desired":{"on":true}},"clientToken":"t"}`,
			Want:      `{"state":{"desired":{"on":true}},"metadata":{"desired":{"on":{"timestamp":0}}},"version":1,"timestamp":0,"clientToken":"t"}`,
			Delta:     `{"state":{"on":true},"metadata":{"on":{"timestamp":0}},"version":1,"timestamp":0,"clientToken":"t"}`,
			Documents: `{"current":{"state":{"desired":{"on":true}},"metadata":{"desired":{"on":{"timestamp":0}}},"version":1},"timestamp":0,"clientToken":"t"}`},
		{Body: `{"state":[]}`, Code: 400, Message: "State node must be an object"},
	}},
	{Line: "7 answer, delta and documents carry one version", Steps: []Step{
		{Body: `{"state":{"desired":{"a":1}}}`, Want: `{"state":{"desired":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":1,"timestamp":0}`},
		{Body: `{"state":{"desired":{"b":1}}}`,
			Want:      `{"state":{"desired":{"b":1}},"metadata":{"desired":{"b":{"timestamp":0}}},"version":2,"timestamp":0}`,
			Delta:     `{"state":{"a":1,"b":1},"metadata":{"a":{"timestamp":0},"b":{"timestamp":0}},"version":2,"timestamp":0}`,
			Documents: `{"previous":{"state":{"desired":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":1},"current":{"state":{"desired":{"a":1,"b":1}},"metadata":{"desired":{"a":{"timestamp":0},"b":{"timestamp":0}}},"version":2},"timestamp":0}`},
	}},
	{Line: "16 a delta has what is missing or differs, with its path, and desired's metadata", Steps: []Step{
		{Body: `{"state":{"desired":{"same":1,"o":{"same":"x","other":1,"missing":{"p":1}},"list":[1,2],"eq":[1,{"a":2}]},
			"reported":{"same":1,"o":{"same":"x","other":2,"extra":9},"list":[1],"eq":[1,{"a":2}],"only":true}}}`,
			Delta: `{"state":{"list":[1,2],"o":{"missing":{"p":1},"other":1}},
				"metadata":{"list":[{"timestamp":0},{"timestamp":0}],"o":{"missing":{"p":{"timestamp":0}},"other":{"timestamp":0}}},"version":1,"timestamp":0}`},
	}},
	{Line: "16 values of different types differ", Steps: []Step{
		{Body: `{"state":{"desired":{"a":"1","b":{"c":1},"d":[1],"e":true},"reported":{"a":1,"b":[1],"d":{"0":1},"e":"true"}}}`,
			Delta: `{"state":{"a":"1","b":{"c":1},"d":[1],"e":true},
				"metadata":{"a":{"timestamp":0},"b":{"c":{"timestamp":0}},"d":[{"timestamp":0}],"e":{"timestamp":0}},"version":1,"timestamp":0}`},
	}},
	{Line: "16 numbers are compared by value", Steps: []Step{
		{Body: `{"state":{"desired":{"a":1,"b":1e2},"reported":{"a":1.0,"b":100}}}`, Delta: None},
	}},
	{Line: "17 no delta when nothing differs", Steps: []Step{
		{Body: create, Delta: None},
		{Body: `{"state":{"reported":{"b":1}}}`, Delta: None},
	}},
	{Line: "17 a delta has all that differs, whatever the update touched", Steps: []Step{
		{Body: `{"state":{"desired":{"a":1,"b":2}}}`},
		{Body: `{"state":{"reported":{"c":3}}}`, Delta: `{"state":{"a":1,"b":2},"metadata":{"a":{"timestamp":0},"b":{"timestamp":0}},"version":2,"timestamp":0}`},
		{Body: `{"state":{"reported":{"a":1}}}`, Delta: `{"state":{"b":2},"metadata":{"b":{"timestamp":0}},"version":3,"timestamp":0}`},
		{Body: `{"state":{"reported":{"b":2}}}`, Delta: None},
	}},
	{Line: "17 deleting a reported key brings the delta back", Steps: []Step{
		{Body: create, Delta: None},
		{Body: `{"state":{"reported":{"a":null}}}`, Delta: `{"state":{"a":1},"metadata":{"a":{"timestamp":0}},"version":2,"timestamp":0}`},
		{Body: `{"state":{"reported":{"a":1}}}`, Delta: None},
		{Body: `{"state":{"reported":null}}`, Delta: `{"state":{"a":1},"metadata":{"a":{"timestamp":0}},"version":4,"timestamp":0}`},
	}},
	{Line: "18 get has desired, reported and delta, and their metadata", Steps: []Step{
		{Body: `{"state":{"desired":{"a":1,"list":["x","y"]},"reported":{"a":2}}}`},
		{Op: Get, Want: `{"state":{"desired":{"a":1,"list":["x","y"]},"reported":{"a":2},"delta":{"a":1,"list":["x","y"]}},
			"metadata":{"desired":{"a":{"timestamp":0},"list":[{"timestamp":0},{"timestamp":0}]},"reported":{"a":{"timestamp":0}}},"version":1,"timestamp":0}`},
	}},
	{Line: "18 what an answer's metadata says of removed members", Unverified: true, Steps: []Step{
		{Body: create},
		{Body: `{"state":{"reported":{"a":null,"o":{"b":null}}}}`,
			Want: `{"state":{"reported":{"a":null,"o":{"b":null}}},"metadata":{"reported":{"a":{"timestamp":0},"o":{"b":{"timestamp":0}}}},"version":2,"timestamp":0}`},
	}},
	{Line: "19 documents have the document before and after", Steps: []Step{
		{Body: `{"state":{"desired":{"a":1}}}`},
		{Body: `{"state":{"reported":{"a":1}},"clientToken":"t"}`,
			Documents: `{"previous":{"state":{"desired":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":1},
				"current":{"state":{"desired":{"a":1},"reported":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}},"reported":{"a":{"timestamp":0}}},"version":2},
				"timestamp":0,"clientToken":"t"}`},
	}},
	{Line: "19 the first documents have nothing before", Unverified: true, Steps: []Step{
		{Body: `{"state":{"reported":{"a":1}}}`,
			Documents: `{"current":{"state":{"reported":{"a":1}},"metadata":{"reported":{"a":{"timestamp":0}}},"version":1},"timestamp":0}`},
		{Op: Delete, Documents: None},
		{Body: `{"state":{}}`, Documents: `{"current":{"state":{},"metadata":{},"version":3},"timestamp":0}`},
	}},
}

// lifeCases are lines 20 and 21: the end of a shadow and its return.
var lifeCases = []Case{
	{Line: "20 delete answers the version it deleted; what is made again goes on at V+2", Steps: []Step{
		{Body: create},
		{Body: create},
		{Op: Delete, Want: `{"version":2,"timestamp":0}`, Delta: None, Documents: None},
		{Op: Get, Code: 404, Message: "No shadow exists with name: '{name}'"},
		{Body: `{"state":{"desired":{"a":1}}}`, Want: `{"state":{"desired":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":4,"timestamp":0}`},
		{Op: Get, Want: `{"state":{"desired":{"a":1},"delta":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":4,"timestamp":0}`},
		{Op: Delete, Want: `{"version":4,"timestamp":0}`},
		{Body: `{"state":{}}`, Want: `{"state":{},"metadata":{},"version":6,"timestamp":0}`},
	}},
	{Line: "20 nothing of a deleted shadow comes back", Steps: []Step{
		{Body: `{"state":{"desired":{"old":1},"reported":{"old":2}}}`},
		{Op: Delete},
		{Body: `{"state":{"reported":{"new":1}}}`, Delta: None},
		{Op: Get, Want: `{"state":{"reported":{"new":1}},"metadata":{"reported":{"new":{"timestamp":0}}},"version":3,"timestamp":0}`},
	}},
	{Line: "21 what is not there is not found", Steps: []Step{
		{Op: Get, Code: 404, Message: "No shadow exists with name: '{name}'"},
		{Op: Delete, Code: 404, Message: "No shadow exists with name: '{name}'"},
		{Body: create},
		{Op: Delete},
		{Op: Delete, Code: 404, Message: "No shadow exists with name: '{name}'"},
	}},
}
