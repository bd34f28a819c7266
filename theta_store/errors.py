"""The whole exception tree of both packages, grouped by what the catcher does about it.

Owns every error a user can meet: a stable ``kind`` (append-only), one message, an optional
``hint`` that names the next command, and the exit code of the command line.
Must not know who raises them.

ThetaError                 exit
├── NothingToCommit        1   a negative answer
├── UsageError             2   the request makes no sense here: fix the command
│   └── InvalidName            a ref, file or parameter name that is not allowed
├── NotARepository         3   there is no repository here
├── NotFound               4   the thing named does not exist
│   ├── UnknownRevision
│   ├── UnknownFile
│   ├── UnknownParameter
│   └── ExpiredCommit          the tree was given up by ``gc --keep`` or ``forget``
├── RefMoved               5   somebody else was faster: retry
├── IntegrityError         6   our bytes break our laws: ``theta fsck``
│   ├── HashMismatch
│   ├── MalformedRecord
│   └── MissingObject
├── ResourceError          7   disk, memory, map or lock: free it and retry
│   ├── DiskFull
│   └── Locked
├── RemoteError            8   the other side failed
└── Unsafe                 9   refused, because it could lose or leak something
    ├── MalformedFile          the user's file is not what it claims to be
    ├── OpaqueFile             sound, but without parameters that can be read: kept as a blob
    │   └── UnsafePickle       names a global outside the allow-list
    ├── UnsafePath             would leave the workspace
    ├── UnsavedChanges         would overwrite what no commit holds
    ├── GuardFailed            the user asked that such values are not committed
    ├── ForeignRepository      belongs to another user, or was written by a newer theta
    └── NetworkFileSystem      LMDB is not safe there
"""

from typing import ClassVar


class ThetaError(Exception):
    """The root of every error that theta raises on purpose."""

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class NothingToCommit(ThetaError):
    """Everything is as HEAD has it: a negative answer, not a failure."""

    kind = "nothing-to-commit"
    exit_code = 1


class UsageError(ThetaError, ValueError):
    """The request makes no sense here."""

    kind = "usage"
    exit_code = 2


class InvalidName(UsageError):
    """A name of a ref, file or parameter breaks the rules for such names."""

    kind = "invalid-name"


class NotARepository(ThetaError, FileNotFoundError):
    """No repository at or above the folder."""

    kind = "not-a-repository"
    exit_code = 3


class NotFound(ThetaError, KeyError):
    """Something the user named does not exist."""

    kind = "not-found"
    exit_code = 4


class UnknownRevision(NotFound):
    """No commit answers to this revision, or more than one does."""

    kind = "unknown-revision"


class UnknownFile(NotFound):
    """The commit holds no such file."""

    kind = "unknown-file"


class UnknownParameter(NotFound):
    """The checkpoint holds no such parameter."""

    kind = "unknown-parameter"


class ExpiredCommit(NotFound):
    """The commit's record is kept, its files were given up."""

    kind = "expired-commit"


class RefMoved(ThetaError):
    """Another process moved the ref first; nothing was changed."""

    kind = "ref-moved"
    exit_code = 5


class IntegrityError(ThetaError):
    """Stored bytes break a law of the store."""

    kind = "integrity"
    exit_code = 6


class HashMismatch(IntegrityError):
    """Bytes read do not hash to the id that names them."""

    kind = "hash-mismatch"


class MalformedRecord(IntegrityError):
    """Bytes are not the canonical encoding of a record."""

    kind = "malformed-record"


class MissingObject(IntegrityError):
    """An id that must exist is not in the store."""

    kind = "missing-object"


class ResourceError(ThetaError, OSError):
    """The machine could not give what was needed; nothing was committed."""

    kind = "resource"
    exit_code = 7


class DiskFull(ResourceError):
    """No space is left where the store lives."""

    kind = "disk-full"


class Locked(ResourceError):
    """Another process holds a lock that this operation needs."""

    kind = "locked"


class RemoteError(ThetaError, OSError):
    """The other repository failed or broke off."""

    kind = "remote"
    exit_code = 8


class Unsafe(ThetaError):
    """Refused, because going on could lose, leak or execute something."""

    kind = "unsafe"
    exit_code = 9


class MalformedFile(Unsafe, ValueError):
    """A user's file is not what it claims to be: truncated, overlapping or lying."""

    kind = "malformed-file"


class OpaqueFile(Unsafe):
    """The parameters of a user's file cannot be read; the file itself is kept byte for byte."""

    kind = "opaque-file"


class UnsafePickle(OpaqueFile):
    """A pickle names a global outside the allow-list; it is never executed."""

    kind = "unsafe-pickle"


class UnsafePath(Unsafe):
    """A path would leave the folder it belongs to."""

    kind = "unsafe-path"


class UnsavedChanges(Unsafe):
    """Files hold changes that no commit has; they were left as they are."""

    kind = "unsaved-changes"


class GuardFailed(Unsafe):
    """Values are what the user asked not to commit, such as NaN; nothing was committed."""

    kind = "guard-failed"


class ForeignRepository(Unsafe):
    """The repository is another user's, or needs features this theta lacks."""

    kind = "foreign-repository"


class NetworkFileSystem(Unsafe):
    """The store would live on a file system that cannot keep it safe."""

    kind = "network-file-system"
