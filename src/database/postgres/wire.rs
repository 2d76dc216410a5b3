//! How arguments are written: the two types that sqlx lacks, text that is still bytes and a time in milliseconds. Never converts a time zone; the
//! server's casts do that.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::{Arguments, Decode, Encode, Postgres, Type};

use crate::clock::Expiry;
use crate::database::DatabaseError;

/// From the Unix epoch to PostgreSQL's, 2000-01-01, in milliseconds.
const EPOCH_MS: i64 = 946_684_800_000;

/// Text that the server checks: invalid UTF-8 and NUL come back as class 22, so nobody checks them twice.
#[derive(Clone, Copy)]
pub(super) struct Text<'a>(pub &'a [u8]);

impl Type<Postgres> for Text<'_> {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(other: &PgTypeInfo) -> bool {
        <str as Type<Postgres>>::compatible(other)
    }
}

impl PgHasArrayType for Text<'_> {
    fn array_type_info() -> PgTypeInfo {
        <&str as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Text<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0);
        Ok(IsNull::No)
    }

    fn size_hint(&self) -> usize {
        self.0.len()
    }
}

/// An expiry as `timestamptz`; null is never.
#[derive(Clone, Copy)]
pub(super) struct Timestamp(pub Expiry);

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(sqlx::postgres::types::Oid(TIMESTAMPTZ))
    }
}

impl PgHasArrayType for Timestamp {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(sqlx::postgres::types::Oid(TIMESTAMPTZ_ARRAY))
    }
}

/// `timestamptz` and `timestamptz[]` in `pg_type`, which are the same in every PostgreSQL.
const TIMESTAMPTZ: u32 = 1184;
const TIMESTAMPTZ_ARRAY: u32 = 1185;

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Some(expires_at_ms) = self.0.as_ms() else { return Ok(IsNull::Yes) };
        let micros = expires_at_ms
            .checked_sub(EPOCH_MS)
            .and_then(|since_ms| since_ms.checked_mul(1000))
            .ok_or("the expiry is out of range")?;
        buffer.extend_from_slice(&micros.to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(Self::of_micros(i64::from_be_bytes(value.as_bytes()?.try_into()?)))
    }
}

impl Timestamp {
    /// A time as PostgreSQL sends it, in microseconds since 2000; cut to its millisecond.
    pub fn of_micros(micros: i64) -> Self {
        Self(Expiry::at_ms(micros.div_euclid(1000).saturating_add(EPOCH_MS)))
    }
}

/// Adds an argument; answers its placeholder.
pub(super) fn bind<'t, T: Encode<'t, Postgres> + Type<Postgres>>(
    arguments: &mut PgArguments,
    value: T,
) -> Result<String, DatabaseError> {
    arguments.add(value).map_err(|error| DatabaseError::Refused(error.to_string()))?;
    Ok(format!("${}", arguments.len()))
}
