// What a script finds before it is evaluated (contract runtime.md 8.2). The entry points are properties that can be
// overridden, not declarations: a script may define its own with function, var, let or const.
(function (global, native) {
  'use strict';

  function define(functions) {
    for (const name in functions) {
      Object.defineProperty(global, name, {value: functions[name], writable: true, configurable: true});
    }
  }

  JSON.parse = native.parse;
  JSON.stringify = native.stringify;

  define({
    Ditto: {
      buildDittoProtocolMsg: native.buildDittoProtocolMsg,
      buildExternalMsg(headers, textPayload, bytePayload, contentType) {
        return {headers, textPayload, bytePayload, contentType};
      },
      arrayBufferToString: native.arrayBufferToString,
      stringToArrayBuffer: native.stringToArrayBuffer,
      asByteBuffer(buffer) {
        if (!global.dcodeIO || !global.dcodeIO.ByteBuffer) {
          throw new Error('Ditto.asByteBuffer needs the option loadBytebufferJS.');
        }
        return global.dcodeIO.ByteBuffer.wrap(buffer);
      },
    },

    mapToDittoProtocolMsg() {
      throw new Error('The script does not define mapToDittoProtocolMsg.');
    },
    mapToDittoProtocolMsgWrapper(message) {
      return mapToDittoProtocolMsg(message.headers, message.textPayload, message.bytePayload, message.contentType);
    },

    mapFromDittoProtocolMsg() {
      throw new Error('The script does not define mapFromDittoProtocolMsg.');
    },
    mapFromDittoProtocolMsgWrapper(envelope) {
      const topic = envelope.topic.split('/');
      const things = topic[2] === 'things';
      const rest = things ? 4 : 3;
      return mapFromDittoProtocolMsg(topic[0], topic[1], topic[2], things ? topic[3] : 'none', topic[rest], topic[rest + 1],
        envelope.path, envelope.headers, envelope.value, envelope.status, envelope.extra);
    },
  });
})
