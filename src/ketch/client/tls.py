"""TLS to an engine: the caller gets one end of a socketpair, a thread en- and decrypts behind it.

The callers half-close (``run`` without input still wants all output), poll(2) their descriptor and
hand it on. A TLS socket can do none of these: bytes may wait inside the library where poll does not
see them, and Python's ``SSLSocket.shutdown`` ends decryption as well.
"""

import os
import select
import socket
import ssl
import threading

from ketch.client.address import Tls

_CHUNK = 256 * 1024


def context_of(files: Tls) -> ssl.SSLContext:
    """A client's context; raises OSError for files that are missing or malformed, naming them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not files.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        if files.ca:
            context.load_verify_locations(files.ca)
        elif files.verify:
            context.load_default_certs()
        if files.cert or files.key:
            context.load_cert_chain(files.cert, files.key)
    except FileNotFoundError:
        missing = [path for path in (files.ca, files.cert, files.key) if not os.path.exists(path)]
        raise OSError(f"no TLS file {', '.join(missing)}") from None
    except ssl.SSLError as error:
        raise OSError(f"the TLS files of {os.path.dirname(files.cert)}: {error.reason}") from None
    return context


def plain_side(sock: socket.socket, files: Tls, host: str) -> socket.socket:
    """Shake hands over a connected socket with a timeout; the plain end of the connection.

    Raises OSError, of which ``ssl.SSLError`` is one.
    """
    try:
        relay = _Relay(sock, context_of(files), host)
        relay.shake_hands()
    except BaseException:
        sock.close()
        raise
    sock.settimeout(None)
    ours, theirs = socket.socketpair()
    threading.Thread(target=relay.run, args=(theirs,), daemon=True).start()
    return ours


class _Relay:
    """One connection: ``sock`` is encrypted, ``plain`` is not."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)

    def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self._flush()
                data = self._sock.recv(_CHUNK)
                if not data:
                    raise ConnectionResetError(104, "closed during the TLS handshake") from None
                self._in.write(data)
            finally:
                self._flush()

    def run(self, plain: socket.socket) -> None:
        """Until the engine has closed and the caller has all of it, or the caller is gone."""
        try:
            self._pump(plain)
        except OSError:
            pass  # either side is gone: closing tells the other
        finally:
            plain.close()
            self._sock.close()

    def _pump(self, plain: socket.socket) -> None:
        poller = select.poll()
        poller.register(plain, select.POLLIN)
        poller.register(self._sock, select.POLLIN)
        while True:
            for fd, _ in poller.poll():
                if fd == plain.fileno():
                    if not self._encrypt(plain):
                        poller.unregister(plain)
                elif not self._decrypt(plain):
                    return

    def _encrypt(self, plain: socket.socket) -> bool:
        """False at the caller's end, which the engine is told by close_notify (RFC 8446, 6.1)."""
        data = plain.recv(_CHUNK)
        if data:
            self._tls.write(data)
        else:
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # it is sent; the engine's own may come much later
        self._flush()
        return bool(data)

    def _decrypt(self, plain: socket.socket) -> bool:
        """False at the engine's end."""
        data = self._sock.recv(_CHUNK)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
        while True:
            try:
                piece = self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                self._flush()
                return True
            except ssl.SSLError:
                return False
            if not piece:
                return False
            plain.sendall(piece)

    def _flush(self) -> None:
        if self._out.pending:
            self._sock.sendall(self._out.read())
