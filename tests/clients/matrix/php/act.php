<?php
// A driver's side of the talk that play.mjs describes, and the life of a session as ../node/life.mjs tells it.
// Everything is written past PHP's own output: sessions cannot start once a byte of that has gone out.

ini_set('session.use_cookies', '0');
ini_set('session.use_only_cookies', '0');
ini_set('session.cache_limiter', '');

const LONG_S = 3600;
const BRIEF_S = 2;
// Slept and not polled: a read is a touch here.
const SURELY_OVER_US = 3_200_000;

$port = (int) getenv('REDIS_PORT');

set_error_handler(function ($level, $message) {
    if ($level === E_DEPRECATED) {
        return true;
    }
    throw new ErrorException($message, 0, $level);
});

function say(array $line): void
{
    fwrite(STDOUT, json_encode($line) . "\n");
    fgets(STDIN);
}

function runs(array $versions): void
{
    say(['versions' => $versions]);
}

function step(string $name, callable $act): void
{
    try {
        $result = $act();
    } catch (Throwable $error) {
        $result = ['error' => $error->getMessage()];
    }
    say(['step' => $name, 'result' => $result]);
}

function crash(): void
{
    say(['crash' => true]);
}

function finish(): void
{
    say(['done' => true]);
    exit(0);
}

// One web request: opens the session of an id (or a new one), lets `$act` work on it, and closes it.
function request(?string $id, callable $act, int $seconds = LONG_S): mixed
{
    ini_set('session.gc_maxlifetime', (string) $seconds);
    session_id($id ?? session_create_id());
    $_SESSION = [];
    session_start();
    try {
        return $act();
    } finally {
        if (session_status() === PHP_SESSION_ACTIVE) {
            session_write_close();
        }
    }
}

function create(string $user, int $seconds): string
{
    return request(null, function () use ($user) {
        $_SESSION = ['user' => $user, 'visits' => 0];
        return session_id();
    }, $seconds);
}

// A fresh id would be written as an empty session, so an unknown one is put away again.
function read(string $id, int $seconds = LONG_S): ?array
{
    return request($id, function () {
        if ($_SESSION) {
            return $_SESSION;
        }
        session_destroy();
        return null;
    }, $seconds);
}

function again(callable $act): mixed
{
    $deadline = microtime(true) + 15;
    while (true) {
        try {
            return $act();
        } catch (Throwable $error) {
            if (microtime(true) > $deadline) {
                throw $error;
            }
            usleep(50_000);
        }
    }
}

function live(callable $sees = null): void
{
    $ada = $grace = null;
    $modify = function () use (&$ada) {
        request($ada, fn () => $_SESSION['visits']++);
        return read($ada);
    };
    $both = function () use (&$ada, &$grace) {
        return [again(fn () => read($ada)), again(fn () => read($grace))];
    };
    step('create', function () use (&$ada, &$grace) {
        [$ada, $grace] = [create('ada', LONG_S), create('grace', LONG_S)];
        return 'created';
    });
    step('read', $both);
    step('modify', $modify);
    // A request that changes nothing only lengthens the life (session.lazy_write).
    step('touch', fn () => read($ada));
    step('list', fn () => 'not offered');
    step('regenerate', function () use (&$ada) {
        $old = $ada;
        $ada = request($ada, function () {
            session_regenerate_id(true);
            return session_id();
        });
        return ['old' => read($old), 'new' => read($ada)];
    });
    step('expire', function () {
        $brief = create('brief', BRIEF_S);
        $first = read($brief, BRIEF_S);
        usleep(SURELY_OVER_US);
        return ['first' => $first, 'then' => read($brief)];
    });
    if ($sees) {
        step('while another holds it', fn () => $sees($ada));
    }
    crash();
    step('read after the crash', $both);
    step('modify after the crash', $modify);
    step('destroy', function () use (&$grace) {
        request($grace, fn () => session_destroy());
        return read($grace);
    });
    crash();
    step('read after the second crash', $both);
    finish();
}
