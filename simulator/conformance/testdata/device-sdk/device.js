// A device as its maker would write it with the AWS IoT device SDK for
// JavaScript, unmodified. It says each thing that happens as one line of JSON;
// device_test.go decides whether that is right.
'use strict';
const awsIot = require('aws-iot-device-sdk');

const [dir, host, port, thing] = process.argv.slice(2);
const say = (event, data) => console.log(JSON.stringify({ event, ...data }));

const shadows = awsIot.thingShadow({
  keyPath: dir + '/device.key', certPath: dir + '/device.crt', caPath: dir + '/ca.crt',
  clientId: 'device-' + thing, host, port: Number(port),
});

// What to do after each answer, in turn.
const turns = [
  () => shadows.get(thing),
  () => shadows.update(thing, { state: { reported: { on: false, speed: [1, 2] } } }),
  () => shadows.get(thing),
  () => say('waiting'), // for a delta
  () => { // until the operator has seen it
    say('reported');
    process.stdin.once('data', () => { process.stdin.pause(); next(); });
  },
  () => shadows.delete(thing),
  () => shadows.end(false, () => say('end')),
];
const next = () => {
  const result = turns.shift()();
  if (result === null) say('refused'); // the SDK's word for "not now"
};

shadows.on('connect', () => shadows.register(thing, {}, (error, failed) => {
  say('registered', { error, failed });
  next();
}));
shadows.on('status', (name, status, token, answer) => {
  say('status', { name, status, token, answer });
  next();
});
shadows.on('delta', (name, answer) => {
  say('delta', { name, answer });
  shadows.update(thing, { state: { reported: answer.state } });
});
shadows.on('timeout', (name, token) => say('timeout', { name, token }));
shadows.on('foreignStateChange', (name, operation, answer) => say('foreign', { name, operation, answer }));
shadows.on('error', (error) => say('error', { error: String(error) }));
shadows.on('close', () => say('close'));
