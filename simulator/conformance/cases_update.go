package conformance

// updateCases are lines 8 to 12 and 15: what an update does.
var updateCases = []Case{
	{Line: "8 the first update creates version 1 and is echoed", Steps: []Step{{
		Body: `{"state":{"desired":{"on":true,"o":{"n":1.50}},"reported":{"s":"x"}}}`,
		Want: `{"state":{"desired":{"o":{"n":1.50},"on":true},"reported":{"s":"x"}},
			"metadata":{"desired":{"o":{"n":{"timestamp":0}},"on":{"timestamp":0}},"reported":{"s":{"timestamp":0}}},"version":1,"timestamp":0}`,
	}}},
	{Line: "8 the answer has what was asked for, not the merged document", Steps: []Step{
		{Body: `{"state":{"desired":{"a":1,"b":2}}}`},
		{Body: `{"state":{"desired":{"b":3}},"clientToken":"mine"}`,
			Want: `{"state":{"desired":{"b":3}},"metadata":{"desired":{"b":{"timestamp":0}}},"version":2,"timestamp":0,"clientToken":"mine"}`},
	}},
	{Line: "9 objects merge, null deletes, arrays are replaced whole", Steps: []Step{
		{Body: `{"state":{"desired":{"o":{"keep":1,"drop":2,"deep":{"x":1}},"list":[1,2,3],"t":"old"}}}`},
		{Body: `{"state":{"desired":{"o":{"drop":null,"deep":{"y":2}},"list":[9],"t":{"now":"object"}}}}`},
		{Op: Get, Want: `{"state":{"desired":{"list":[9],"o":{"deep":{"x":1,"y":2},"keep":1},"t":{"now":"object"}},
			"delta":{"list":[9],"o":{"deep":{"x":1,"y":2},"keep":1},"t":{"now":"object"}}},
			"metadata":{"desired":{"list":[{"timestamp":0}],"o":{"deep":{"x":{"timestamp":0},"y":{"timestamp":0}},"keep":{"timestamp":0}},"t":{"now":{"timestamp":0}}}},
			"version":2,"timestamp":0}`},
	}},
	{Line: "9 an array may not contain null, at any depth", Steps: []Step{
		{Body: `{"state":{"desired":{"a":[1,null]}}}`, Code: 400, Message: "State contains an invalid node"},
		{Body: `{"state":{"reported":{"a":[{"b":[null]}]}}}`, Code: 400, Message: "State contains an invalid node"},
		{Body: `{"state":{"reported":{"a":[{"b":null}]}},"clientToken":"t"}`, Code: 400, Message: "State contains an invalid node", Token: "t"},
		{Op: Get, Code: 404, Message: "No shadow exists with name: '{name}'"},
	}},
	{Line: "9 deleting what is not there is no error", Steps: []Step{
		{Body: `{"state":{"desired":{"a":1,"gone":null}}}`},
		{Op: Get, Want: `{"state":{"desired":{"a":1},"delta":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":1,"timestamp":0}`},
	}},
	{Line: "10 an empty object is a value", Steps: []Step{
		{Body: `{"state":{"desired":{"b":{"c":3},"d":{}},"reported":{"b":{"c":3}}}}`, Delta: `{"state":{"d":{}},"metadata":{"d":{}},"version":1,"timestamp":0}`},
		{Body: `{"state":{"desired":{"b":{"c":{}}}}}`, Delta: `{"state":{"b":{"c":{}},"d":{}},"metadata":{"b":{"c":{}},"d":{}},"version":2,"timestamp":0}`},
		{Op: Get, Want: `{"state":{"desired":{"b":{"c":{}},"d":{}},"reported":{"b":{"c":3}},"delta":{"b":{"c":{}},"d":{}}},
			"metadata":{"desired":{"b":{"c":{}},"d":{}},"reported":{"b":{"c":{"timestamp":0}}}},"version":2,"timestamp":0}`},
	}},
	{Line: "10 a nested object emptied by nulls stays", Unverified: true, Steps: []Step{
		{Body: `{"state":{"reported":{"o":{"a":1}}}}`},
		{Body: `{"state":{"reported":{"o":{"a":null}}}}`},
		{Op: Get, Want: `{"state":{"reported":{"o":{}}},"metadata":{"reported":{"o":{}}},"version":2,"timestamp":0}`},
	}},
	{Line: "11 nulling every key removes the section", Steps: []Step{
		{Body: create},
		{Body: `{"state":{"desired":{"a":null}}}`, Delta: None},
		{Op: Get, Want: `{"state":{"reported":{"a":1}},"metadata":{"reported":{"a":{"timestamp":0}}},"version":2,"timestamp":0}`},
	}},
	{Line: "11 a null section is removed", Steps: []Step{
		{Body: create},
		{Body: `{"state":{"desired":null}}`, Want: `{"state":{"desired":null},"metadata":{"desired":{"timestamp":0}},"version":2,"timestamp":0}`},
		{Op: Get, Want: `{"state":{"reported":{"a":1}},"metadata":{"reported":{"a":{"timestamp":0}}},"version":2,"timestamp":0}`},
		{Body: `{"state":{"reported":null}}`},
		{Op: Get, Want: `{"state":{},"metadata":{},"version":3,"timestamp":0}`},
	}},
	{Line: "11 an empty section makes a shadow", Steps: []Step{
		{Body: `{"state":{"desired":{}}}`, Want: `{"state":{"desired":{}},"metadata":{"desired":{}},"version":1,"timestamp":0}`, Delta: None},
		{Op: Get, Want: `{"state":{},"metadata":{},"version":1,"timestamp":0}`},
	}},
	{Line: "11 an empty state makes a shadow", Steps: []Step{
		{Body: `{"state":{}}`, Want: `{"state":{},"metadata":{},"version":1,"timestamp":0}`, Delta: None},
		{Op: Get, Want: `{"state":{},"metadata":{},"version":1,"timestamp":0}`},
	}},
	{Line: "12 a null state clears both sections and deletes nothing", Steps: []Step{
		{Body: create},
		{Body: `{"state":null,"clientToken":"t"}`, Want: `{"state":null,"metadata":{"timestamp":0},"version":2,"timestamp":0,"clientToken":"t"}`, Delta: None},
		{Op: Get, Want: `{"state":{},"metadata":{},"version":2,"timestamp":0}`},
		{Body: `{"state":null}`, Want: `{"state":null,"metadata":{"timestamp":0},"version":3,"timestamp":0}`},
	}},
	{Line: "15 an update that changes nothing raises the version", Steps: []Step{
		{Body: create},
		{Body: create, Want: `{"state":{"desired":{"a":1},"reported":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}},"reported":{"a":{"timestamp":0}}},"version":2,"timestamp":0}`},
		{Body: `{"state":{}}`, Want: `{"state":{},"metadata":{},"version":3,"timestamp":0}`},
	}},
}

// invalidCases are lines 13 and 14: what is refused, and in which words.
var invalidCases = []Case{
	{Line: "13 no JSON", Steps: []Step{
		{Body: ``, Code: 400, Message: "Invalid JSON"},
		{Body: `{"state":{"desired":{"a":1}}`, Code: 400, Message: "Invalid JSON"},
		{Body: `{"state":{}} trailing`, Code: 400, Message: "Invalid JSON"},
		{Body: `[]`, Code: 400, Message: "Invalid JSON"},
		{Body: `{"clientToken":"t","state":{"desired":{"a":01}}}`, Code: 400, Message: "Invalid JSON", Token: "t"},
	}},
	{Line: "13 missing state", Steps: []Step{
		{Body: `{}`, Code: 400, Message: "Missing required node: state"},
		{Body: `{"desired":{"a":1},"clientToken":"t"}`, Code: 400, Message: "Missing required node: state", Token: "t"},
	}},
	{Line: "13 state is no object", Steps: []Step{
		{Body: `{"state":[]}`, Code: 400, Message: "State node must be an object"},
		{Body: `{"state":"x"}`, Code: 400, Message: "State node must be an object"},
	}},
	{Line: "13 desired is no object", Steps: []Step{
		{Body: `{"state":{"desired":1}}`, Code: 400, Message: "Desired node must be an object"},
		{Body: `{"state":{"desired":[]}}`, Code: 400, Message: "Desired node must be an object"},
	}},
	{Line: "13 reported is no object", Steps: []Step{
		{Body: `{"state":{"reported":true}}`, Code: 400, Message: "Reported node must be an object"},
		{Body: `{"state":{"reported":"x"}}`, Code: 400, Message: "Reported node must be an object"},
	}},
	{Line: "13 state has members other than desired and reported", Steps: []Step{
		{Body: `{"state":{"desired":{"a":1},"delta":{"a":1}}}`, Code: 400, Message: "State contains an invalid node"},
		{Body: `{"state":{"other":{}}}`, Code: 400, Message: "State contains an invalid node"},
	}},
	{Line: "13 the version is no version", Steps: []Step{
		{Body: `{"state":{},"version":"1"}`, Code: 400, Message: "Invalid version"},
		{Body: `{"state":{},"version":-1}`, Code: 400, Message: "Invalid version"},
		{Body: `{"state":{},"version":1.5}`, Code: 400, Message: "Invalid version"},
	}},
	{Line: "13 what is outside state is ignored", Steps: []Step{
		{Body: `{"state":{"desired":{"a":1}},"metadata":{"x":1},"timestamp":"never","other":[null]}`,
			Want: `{"state":{"desired":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":1,"timestamp":0}`},
	}},
	{Line: "errors 415 a body that is not UTF-8", Steps: []Step{
		{Body: "{\"state\":{\"desired\":{\"a\":\"\xff\"}}}", Code: 415, Message: "Unsupported documented encoding; supported encoding is UTF-8"},
	}},
	{Line: "14 a version other than the current is a conflict that changes nothing", Steps: []Step{
		{Body: create},
		{Body: `{"state":{"desired":{"a":2}},"version":2,"clientToken":"t"}`, Code: 409, Message: "Version conflict", Token: "t"},
		{Body: `{"state":{"desired":{"a":2}},"version":0}`, Code: 409, Message: "Version conflict"},
		{Op: Get, Want: `{"state":{"desired":{"a":1},"reported":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}},"reported":{"a":{"timestamp":0}}},"version":1,"timestamp":0}`},
	}},
	{Line: "14 the current version, or none, is accepted", Steps: []Step{
		{Body: create},
		{Body: `{"state":{"desired":{"a":2}},"version":1}`, Want: `{"state":{"desired":{"a":2}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":2,"timestamp":0}`},
		{Body: `{"state":{"desired":{"a":3}}}`, Want: `{"state":{"desired":{"a":3}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":3,"timestamp":0}`},
		{Body: `{"state":{"desired":{"a":4}},"version":null}`, Want: `{"state":{"desired":{"a":4}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":4,"timestamp":0}`},
	}},
	{Line: "14 the version of a shadow that never was is 0", Unverified: true, Steps: []Step{
		{Body: `{"state":{},"version":1}`, Code: 409, Message: "Version conflict"},
		{Body: `{"state":{},"version":0}`, Want: `{"state":{},"metadata":{},"version":1,"timestamp":0}`},
	}},
}
