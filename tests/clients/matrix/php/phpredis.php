<?php
// phpredis's session handler: php phpredis.php [locking].
require __DIR__ . '/act.php';

$locking = in_array('locking', $argv, true);
ini_set('session.save_handler', 'redis');
ini_set('session.save_path', "tcp://127.0.0.1:$port");
if ($locking) {
    ini_set('redis.session.locking_enabled', '1');
    ini_set('redis.session.lock_expire', '20');
    ini_set('redis.session.lock_wait_time', '10000');
    ini_set('redis.session.lock_retries', '50');
}
runs(['phpredis' => phpversion('redis'), 'php' => PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION]);

// A second request on the same session, by another process that holds it for 0.2 s and adds a visit.
function meets_another(string $id): array
{
    global $port;
    $code = '
        ini_set("session.use_cookies", "0");
        ini_set("session.cache_limiter", "");
        ini_set("session.save_handler", "redis");
        ini_set("session.save_path", "tcp://127.0.0.1:' . $port . '");
        ini_set("redis.session.locking_enabled", "1");
        session_id($argv[1]);
        session_start();
        echo "held\n";
        usleep(200000);
        $_SESSION["visits"] += 10;
        session_write_close();
    ';
    $other = popen(escapeshellarg(PHP_BINARY) . ' -d output_buffering=0 -r ' . escapeshellarg($code) . ' -- ' . escapeshellarg($id) . ' 2>&1', 'r');
    $held = trim(fgets($other));
    $seen = request($id, fn () => $_SESSION['visits']++);
    pclose($other);
    return ['other' => $held, 'visits seen after waiting' => $seen, 'now' => read($id)];
}

live($locking ? 'meets_another' : null);
