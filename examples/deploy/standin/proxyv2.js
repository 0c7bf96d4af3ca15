// A PROXY header of version 2 in front of the first bytes of a connection:
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2.2. Written for njs 0.7.

const SIGNATURE = '0d0a0d0a000d0a515549540a';
const PROXY = '21';    // version 2, command PROXY
const TCP4 = '11';
const TCP6 = '21';

function hex(number, digits) {
    return ('0000' + Number(number).toString(16)).slice(-digits);
}

// address4 is an IPv4 address as hexadecimal digits.
function address4(text) {
    return text.split('.').map((part) => hex(part, 2)).join('');
}

// address6 is an IPv6 address as hexadecimal digits. nginx writes none with dots in it to a socket of IPv6 alone.
function address6(text) {
    const halves = text.split('::');
    const groups = (half) => (half ? half.split(':').map((part) => hex('0x' + part, 4)) : []);
    const front = groups(halves[0]);
    const back = groups(halves[1]);
    while (front.length + back.length < 8) {
        front.push('0000');
    }
    return front.concat(back).join('');
}

function header(s) {
    const v = s.variables;
    const six = v.remote_addr.includes(':');
    const address = six ? address6 : address4;
    const body = address(v.remote_addr) + address(v.server_addr) + hex(v.remote_port, 4) + hex(v.server_port, 4);
    return Buffer.from(SIGNATURE + PROXY + (six ? TCP6 : TCP4) + hex(body.length / 2, 4) + body, 'hex');
}

function v2(s) {
    let first = true;
    s.on('upstream', (data, flags) => {
        if (!first) {
            s.send(data, flags);
            return;
        }
        first = false;
        s.send(Buffer.concat([header(s), data]), flags);
    });
}

export default { v2 };
